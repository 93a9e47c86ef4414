"""What infra/aws makes, in words; a test compares it with what Terraform does make."""

from __future__ import annotations

from verger.cloud.deploy.provider import Deployment, Resource


def planned(wanted: Deployment) -> list[Resource]:
    """Return what would exist: what is free, or belongs to something else of the list, is told with it."""
    name = wanted.name
    found = [
        Resource("S3 bucket", f"{name}-...", "photos, results, package, logs: encrypted, versioned, TLS only"),
        Resource("KMS key", f"alias/verger-{name}", "encrypts bucket, disks and messages; renewed every year"),
        Resource("VPC", name, "three private subnets with a free way to S3, and none to the internet"),
        Resource(
            "interface endpoint", f"{name}-kms", "the machines' way to the key; paid by the hour until `down`"
        ),
        Resource("IAM roles", f"{name}-...", "the job's and the submitter's: this bucket and key alone"),
        Resource("budget", f"verger-{name}", f"{wanted.budget_eur:g} EUR a month; alerts go to {_whom(wanted)}"),
    ]
    if wanted.email is not None:
        found.append(Resource("SNS topic", f"verger-{name}", "carries alarms to the address"))
    return found + (_serverless(wanted) if wanted.engine == "serverless" else _emr(wanted))


def _whom(wanted: Deployment) -> str:
    return wanted.email or "nobody (see --email)"


def _emr(wanted: Deployment) -> list[Resource]:
    shape = wanted.shape
    ends = f"ends after {wanted.idle_minutes} minutes without work"
    machines = f"{shape.workers} x {shape.machine} on demand, led by {shape.primary}"
    found = [Resource("EMR cluster", wanted.name, f"{machines}; {ends}")]
    if shape.max_workers:
        kind = "spot" if shape.spot else "on demand"
        told = f"up to {shape.max_workers - shape.workers} more x {shape.machine}, {kind}, while there is work"
        found.append(Resource("managed scaling", wanted.name, told))
    if wanted.email is not None:
        told = f"for a cluster that lives longer than {wanted.max_hours} hours"
        found.append(Resource("CloudWatch alarm", f"verger-{wanted.name}-lives-long", told))
    return found


def _serverless(wanted: Deployment) -> list[Resource]:
    most = wanted.shape.most_workers
    verger = f"verger from {wanted.image}" if wanted.image else "verger from an image, for which `up` needs --image"
    told = f"at most {most} workers of 4 vCPU and 16 GB, {verger}; costs while jobs run, none of which takes over "
    return [Resource("EMR Serverless application", wanted.name, f"{told}{wanted.max_hours} hours")]
