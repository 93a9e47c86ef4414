"""Descriptions of the resources of infra/aws; a test compares them with the resources in Terraform's plan."""

from __future__ import annotations

from verger.cloud.deploy.provider import DeploymentSpec, PlannedResource


def planned_resources(spec: DeploymentSpec) -> list[PlannedResource]:
    """Return the resources of a deployment, except small free ones and parts of other resources."""
    name = spec.name
    alerts = spec.email or "no one (see --email)"
    resources = [
        PlannedResource(
            "S3 bucket", f"{name}-...", "photos, results, package, logs: encrypted, versioned, TLS only"
        ),
        PlannedResource(
            "KMS key", f"alias/verger-{name}", "encrypts bucket, disks and messages; rotated every year"
        ),
        PlannedResource("VPC", name, "three private subnets with free access to S3 but not to the internet"),
        PlannedResource(
            "interface endpoint",
            f"{name}-kms",
            "lets the machines use the key; costs money every hour until `down`",
        ),
        PlannedResource("IAM roles", f"{name}-...", "let jobs and their users access only this bucket and key"),
        PlannedResource("budget", f"verger-{name}", f"{spec.budget_eur:g} EUR a month; alerts go to {alerts}"),
    ]
    if spec.email is not None:
        resources.append(PlannedResource("SNS topic", f"verger-{name}", "sends alarms to the address"))
    return resources + (_serverless(spec) if spec.engine == "serverless" else _emr(spec))


def _emr(spec: DeploymentSpec) -> list[PlannedResource]:
    shape = spec.shape
    ends = f"ends after {spec.idle_minutes} minutes without work"
    machines = f"{shape.workers} x {shape.machine} on demand, primary {shape.primary}"
    resources = [PlannedResource("EMR cluster", spec.name, f"{machines}; {ends}")]
    if shape.max_workers:
        kind = "spot" if shape.spot else "on demand"
        purpose = f"up to {shape.max_workers - shape.workers} more x {shape.machine}, {kind}, while there is work"
        resources.append(PlannedResource("managed scaling", spec.name, purpose))
    if spec.email is not None:
        purpose = f"warns if the cluster runs longer than {spec.max_hours} hours"
        resources.append(PlannedResource("CloudWatch alarm", f"verger-{spec.name}-lives-long", purpose))
    return resources


def _serverless(spec: DeploymentSpec) -> list[PlannedResource]:
    image = f"verger from the image {spec.image}" if spec.image else "verger from an image (needs --image)"
    purpose = (
        f"at most {spec.shape.peak_workers} workers of 4 vCPU and 16 GB, {image}; costs money only while jobs run; "
        f"jobs are stopped after {spec.max_hours} hours"
    )
    return [PlannedResource("EMR Serverless application", spec.name, purpose)]
