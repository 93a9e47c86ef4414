"""Requests to Dataproc for a cluster, a job on the cluster, or a batch, in the types of Google's own client."""

from __future__ import annotations

from collections.abc import Mapping

from google.cloud import dataproc_v1 as dataproc
from google.protobuf.duration_pb2 import Duration

from verger.cloud.deploy.provider import DeploymentSpec, JobSpec, Shape
from verger.cloud.gcp.names import Names
from verger.cloud.pricing.bill import SERVERLESS_GB, SERVERLESS_VCPUS

# From Dataproc's pages of image versions: 2.3 has Spark 3.5.3 and is supported until June 2027. Assumed: Python
# 3.11.
IMAGE = "2.3-debian12"
# From the page of serverless runtimes: 3.0 has Spark 4.0, Python 3.12 and Java 21.
RUNTIME = "3.0"
SITE = "site.tar.gz"  # the package as an archive, for batches

_PYTHON = "/opt/verger/bin/python"
_DISK_GB = 100
_PYTHON_GB = 6  # memory of a batch's worker outside Java's heap, for Python, which does the work
_MINUTE_S = 60
_HOUR_S = 3600
_INSTALL_S = 600


def cluster(spec: DeploymentSpec, names: Names) -> dataproc.Cluster:
    """Return a private cluster with labels. Google deletes it when it is idle or has existed for too long."""
    shape = spec.shape
    config = dataproc.ClusterConfig(
        config_bucket=names.bucket,
        temp_bucket=names.bucket,
        gce_cluster_config=_machines(names),
        master_config=_group(1, shape.primary),
        worker_config=_group(shape.workers, shape.machine),
        software_config=dataproc.SoftwareConfig(image_version=IMAGE, properties=_properties(names)),
        initialization_actions=[
            dataproc.NodeInitializationAction(
                executable_file=f"{names.package}/init.sh", execution_timeout=Duration(seconds=_INSTALL_S)
            )
        ],
        lifecycle_config=dataproc.LifecycleConfig(
            idle_delete_ttl=Duration(seconds=spec.idle_minutes * _MINUTE_S),
            auto_delete_ttl=Duration(seconds=spec.max_hours * _HOUR_S),
        ),
        endpoint_config=dataproc.EndpointConfig(enable_http_port_access=True),
    )
    if spec.notebook:
        config.software_config.optional_components.append(dataproc.Component(dataproc.Component.JUPYTER))
    if shape.max_workers:
        config.autoscaling_config = dataproc.AutoscalingConfig(policy_uri=names.autoscaling)
        config.secondary_worker_config = _added(shape)
    return dataproc.Cluster(project_id=names.project, cluster_name=names.title, labels=names.labels, config=config)


def job(names: Names, job_spec: JobSpec) -> dataproc.Job:
    """Return the job, which runs the package's main.py on the cluster."""
    return dataproc.Job(
        placement=dataproc.JobPlacement(cluster_name=names.title),
        pyspark_job=dataproc.PySparkJob(main_python_file_uri=f"{names.package}/main.py", args=_arguments(job_spec)),
        labels=names.labels,
    )


def batch(spec: DeploymentSpec, names: Names, job_spec: JobSpec) -> dataproc.Batch:
    """Return the batch, which is a job with its own machines.

    Batches have no initialization action to install verger: Spark unpacks an archive of it for every worker.
    """
    properties = {
        "spark.executorEnv.PYTHONPATH": "./site",
        "spark.dataproc.driverEnv.PYTHONPATH": "./site",
        "spark.dynamicAllocation.maxExecutors": str(spec.shape.peak_workers),
    }
    for side in ("driver", "executor"):
        properties |= {
            f"spark.{side}.cores": str(SERVERLESS_VCPUS),
            f"spark.{side}.memory": f"{SERVERLESS_GB - _PYTHON_GB}g",
            f"spark.{side}.memoryOverhead": f"{_PYTHON_GB}g",
        }
    return dataproc.Batch(
        labels=names.labels,
        pyspark_batch=dataproc.PySparkBatch(
            main_python_file_uri=f"{names.package}/main.py",
            args=_arguments(job_spec),
            archive_uris=[f"{names.package}/{SITE}#site"],
        ),
        runtime_config=dataproc.RuntimeConfig(version=RUNTIME, properties=properties),
        environment_config=dataproc.EnvironmentConfig(
            execution_config=dataproc.ExecutionConfig(
                service_account=names.service_account,
                subnetwork_uri=names.subnetwork,
                network_tags=[names.title],
                staging_bucket=names.bucket,
                ttl=Duration(seconds=spec.max_hours * _HOUR_S),
            )
        ),
    )


def _arguments(job_spec: JobSpec) -> list[str]:
    return [job_spec.command, job_spec.src, job_spec.out, *job_spec.flags]


def _machines(names: Names) -> dataproc.GceClusterConfig:
    return dataproc.GceClusterConfig(
        subnetwork_uri=names.subnetwork,
        internal_ip_only=True,
        service_account=names.service_account,
        service_account_scopes=["https://www.googleapis.com/auth/cloud-platform"],
        tags=[names.title],
        metadata={"verger-package": names.package, "block-project-ssh-keys": "true"},
        shielded_instance_config=dataproc.ShieldedInstanceConfig(
            enable_secure_boot=True, enable_vtpm=True, enable_integrity_monitoring=True
        ),
    )


def _properties(names: Names) -> Mapping[str, str]:
    events = f"gs://{names.bucket}/events"
    return {
        "spark:spark.pyspark.python": _PYTHON,
        "spark:spark.pyspark.driver.python": _PYTHON,
        "spark:spark.eventLog.enabled": "true",
        "spark:spark.eventLog.dir": events,
        "spark:spark.history.fs.logDirectory": events,
    }


def _group(n_machines: int, machine: str) -> dataproc.InstanceGroupConfig:
    disk = dataproc.DiskConfig(boot_disk_type="pd-balanced", boot_disk_size_gb=_DISK_GB)
    return dataproc.InstanceGroupConfig(num_instances=n_machines, machine_type_uri=machine, disk_config=disk)


def _added(shape: Shape) -> dataproc.InstanceGroupConfig:
    """Return the group of the workers that autoscaling adds; at the start this group is empty."""
    kinds = dataproc.InstanceGroupConfig.Preemptibility
    added = _group(0, shape.machine)
    added.preemptibility = kinds(kinds.SPOT if shape.spot else kinds.NON_PREEMPTIBLE)
    return added
