"""What infra/aws makes, in words; a test compares it with what Terraform does make."""

from __future__ import annotations

from verger.cloud.deploy.provider import DeploymentSpec, PlannedResource


def planned_resources(spec: DeploymentSpec) -> list[PlannedResource]:
    """Return what would exist: what is free, or belongs to something else of the list, is told with it."""
    name = spec.name
    found = [
        PlannedResource(
            "S3 bucket", f"{name}-...", "photos, results, package, logs: encrypted, versioned, TLS only"
        ),
        PlannedResource(
            "KMS key", f"alias/verger-{name}", "encrypts bucket, disks and messages; renewed every year"
        ),
        PlannedResource("VPC", name, "three private subnets with a free way to S3, and none to the internet"),
        PlannedResource(
            "interface endpoint", f"{name}-kms", "the machines' way to the key; paid by the hour until `down`"
        ),
        PlannedResource("IAM roles", f"{name}-...", "the job's and the submitter's: this bucket and key alone"),
        PlannedResource("budget", f"verger-{name}", f"{spec.budget_eur:g} EUR a month; alerts go to {_whom(spec)}"),
    ]
    if spec.email is not None:
        found.append(PlannedResource("SNS topic", f"verger-{name}", "carries alarms to the address"))
    return found + (_serverless(spec) if spec.engine == "serverless" else _emr(spec))


def _whom(spec: DeploymentSpec) -> str:
    return spec.email or "nobody (see --email)"


def _emr(spec: DeploymentSpec) -> list[PlannedResource]:
    shape = spec.shape
    ends = f"ends after {spec.idle_minutes} minutes without work"
    machines = f"{shape.workers} x {shape.machine} on demand, led by {shape.primary}"
    found = [PlannedResource("EMR cluster", spec.name, f"{machines}; {ends}")]
    if shape.max_workers:
        kind = "spot" if shape.spot else "on demand"
        told = f"up to {shape.max_workers - shape.workers} more x {shape.machine}, {kind}, while there is work"
        found.append(PlannedResource("managed scaling", spec.name, told))
    if spec.email is not None:
        told = f"for a cluster that lives longer than {spec.max_hours} hours"
        found.append(PlannedResource("CloudWatch alarm", f"verger-{spec.name}-lives-long", told))
    return found


def _serverless(spec: DeploymentSpec) -> list[PlannedResource]:
    most = spec.shape.peak_workers
    verger = f"verger from {spec.image}" if spec.image else "verger from an image, for which `up` needs --image"
    told = f"at most {most} workers of 4 vCPU and 16 GB, {verger}; costs while jobs run, none of which takes over "
    return [PlannedResource("EMR Serverless application", spec.name, f"{told}{spec.max_hours} hours")]
