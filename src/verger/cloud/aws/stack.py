"""The Terraform stack of a deployment on AWS: write its variables and read its outputs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from verger.cloud.deploy.deployments import folder_of
from verger.cloud.deploy.provider import DeploymentSpec, Say
from verger.cloud.deploy.targets import installs_package
from verger.cloud.deploy.terraform import Terraform, infra_folder, terraform_of
from verger.errors import CloudError

# The stack has about 70 resources; progress is shown only for these, and for slow ones (lines with `still`).
_IMPORTANT = re.compile(
    r"^still|aws_(budgets_budget|emr_cluster|emrserverless_application|kms_key|s3_bucket|vpc|vpc_endpoint)\."
)

# File in a deployment's folder with the existing machines; Terraform's variables describe the requested machines.
_MACHINES_FILE = "machines.json"


@dataclass(frozen=True)
class Stack:
    """The outputs of Terraform; log_uri and package_uri are folders in the bucket."""

    bucket: str
    kms_key_arn: str
    job_role_arn: str
    log_uri: str
    package_uri: str
    vpc_id: str
    cluster_id: str | None = None
    application_id: str | None = None


def read_stack(spec: DeploymentSpec) -> Stack:
    """Return the stack that exists. Raises CloudError if the deployment is incomplete."""
    outputs = read_outputs(spec)
    try:
        return Stack(**{field.name: outputs[field.name] for field in fields(Stack) if field.name in outputs})
    except TypeError:  # outputs are missing: Terraform writes them last, and omits null values
        raise CloudError(
            f"the deployment {spec.name!r} is incomplete: `verger cloud up --name {spec.name}` completes it, "
            f"`verger cloud down --name {spec.name}` removes it"
        ) from None


def read_outputs(spec: DeploymentSpec) -> dict[str, Any]:
    """Return Terraform's outputs; empty before `up`."""
    terraform = terraform_of(spec)
    return terraform.output() if terraform.has_state else {}


@contextmanager
def recording_machines(spec: DeploymentSpec) -> Iterator[None]:
    """Context manager: record the machines after the `with` block has created them.

    If the block fails, nothing is recorded, because it is not known which machines exist.
    """
    file = folder_of(spec.name) / _MACHINES_FILE
    file.unlink(missing_ok=True)
    yield
    file.write_text(json.dumps(_machines(spec) | {"idle_minutes": spec.idle_minutes}))


def has_other_machines(spec: DeploymentSpec) -> bool:
    """Return whether the requested machines may differ from the existing ones. Changing machines ends their jobs.

    For EMR Serverless the idle time counts too, because it cannot change while the application is started.
    """
    try:
        before = json.loads((folder_of(spec.name) / _MACHINES_FILE).read_text())
    except (FileNotFoundError, ValueError):
        return True
    after = _machines(spec)
    if "serverless" in (before["engine"], spec.engine):
        after["idle_minutes"] = spec.idle_minutes
    return any(before.get(name) != value for name, value in after.items())


def prepare(spec: DeploymentSpec, package: Path, budget_usd: float) -> Terraform:
    """Copy the Terraform module into the deployment's folder, and write its variables."""
    terraform = terraform_of(spec)
    terraform.prepare(infra_folder("aws"), _variables(spec, package, budget_usd), _override())
    return terraform


def change(spec: DeploymentSpec, **changed: object) -> Terraform:
    """Prepare the module again with the last variables; `changed` replaces some of them."""
    terraform = terraform_of(spec)
    variables = terraform.variables() | changed
    if not Path(variables.get("package_dir") or "").is_dir():
        variables["package_dir"] = None
    terraform.prepare(infra_folder("aws"), variables, _override())
    return terraform


def _variables(spec: DeploymentSpec, package: Path, budget_usd: float) -> dict[str, Any]:
    """Return Terraform's variables. Only `down` sets force_destroy, so that Terraform can remove a full bucket."""
    return _machines(spec) | {
        "name": spec.name,
        "region": spec.region,
        "idle_minutes": spec.idle_minutes,
        "max_hours": spec.max_hours,
        "budget": round(budget_usd, 2),
        "email": spec.email,
        "package_dir": str(package.absolute()) if installs_package(spec) else None,
        "force_destroy": False,
    }


def _machines(spec: DeploymentSpec) -> dict[str, Any]:
    """Return the variables that describe the machines."""
    shape = spec.shape
    return {
        "engine": spec.engine,
        "primary_machine": shape.primary,
        "machine": shape.machine,
        "workers": shape.workers,
        "max_workers": shape.peak_workers,
        "spot": shape.spot,
        "notebook": spec.notebook,
        "image": spec.image,
    }


def important_lines(say: Say) -> Say:
    """Return a function that calls `say` for lines about important or slow resources, and ignores all others."""
    return lambda line: say(line) if _IMPORTANT.search(line) else None


def _override() -> dict[str, Any] | None:
    """Return settings with which Terraform's provider uses only an emulator; None without AWS_ENDPOINT_URL.

    The provider reads AWS_ENDPOINT_URL itself, but without these settings it would also use Amazon's own hosts.
    """
    if "AWS_ENDPOINT_URL" not in os.environ:
        return None
    relaxed = {
        "skip_credentials_validation": True,
        "skip_metadata_api_check": True,
        "s3_use_path_style": True,
        "max_retries": 2,
    }
    return {"provider": {"aws": relaxed}}
