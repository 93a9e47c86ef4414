"""What Terraform makes of a deployment on AWS: its variables go in, its outputs come out."""

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

# Of some seventy things these; `still` begins the lines on what takes minutes.
_TOLD = re.compile(
    r"^still|aws_(budgets_budget|emr_cluster|emrserverless_application|kms_key|s3_bucket|vpc|vpc_endpoint)\."
)

# In a deployment's folder: the machines that it has. Terraform's variables are those that it is to have.
_NOTE = "machines.json"


@dataclass(frozen=True)
class Stack:
    """What exists of a deployment; log_uri and package_uri are folders of the bucket."""

    bucket: str
    kms_key_arn: str
    job_role_arn: str
    log_uri: str
    package_uri: str
    vpc_id: str
    cluster_id: str | None = None
    application_id: str | None = None


def read_stack(spec: DeploymentSpec) -> Stack:
    """Return what has been made. Raises CloudError where nothing has, or not all."""
    told = read_outputs(spec)
    try:
        return Stack(**{field.name: told[field.name] for field in fields(Stack) if field.name in told})
    except TypeError:  # Terraform notes the outputs last, and none that is null
        raise CloudError(
            f"the deployment {spec.name!r} is not whole: `verger cloud up --name {spec.name}` goes on, "
            f"`verger cloud down --name {spec.name}` removes it"
        ) from None


def read_outputs(spec: DeploymentSpec) -> dict[str, Any]:
    """Return Terraform's outputs, as far as there are some."""
    terraform = terraform_of(spec)
    return terraform.output() if terraform.has_state else {}


@contextmanager
def changing_machines(spec: DeploymentSpec) -> Iterator[None]:
    """Note the machines once the block has made them; where it does not end well, nobody knows which there are."""
    note = folder_of(spec.name) / _NOTE
    note.unlink(missing_ok=True)
    yield
    note.write_text(json.dumps(_machines(spec) | {"idle_minutes": spec.idle_minutes}))


def has_other_machines(spec: DeploymentSpec) -> bool:
    """Tell whether its machines are not those that it has, or may be others: no job would outlive the change.

    An application takes no other idle time either while it is started; a cluster does.
    """
    try:
        before = json.loads((folder_of(spec.name) / _NOTE).read_text())
    except (FileNotFoundError, ValueError):
        return True
    after = _machines(spec)
    if "serverless" in (before["engine"], spec.engine):
        after["idle_minutes"] = spec.idle_minutes
    return any(before.get(name) != value for name, value in after.items())


def prepare(spec: DeploymentSpec, package: Path, budget_usd: float) -> Terraform:
    """Bring the module and the variables into the deployment's folder."""
    terraform = terraform_of(spec)
    terraform.prepare(infra_folder("aws"), _variables(spec, package, budget_usd), _override())
    return terraform


def change(spec: DeploymentSpec, **changed: object) -> Terraform:
    """Prepare it anew, as it was but for these variables."""
    terraform = terraform_of(spec)
    variables = terraform.variables() | changed
    if not Path(variables.get("package_dir") or "").is_dir():
        variables["package_dir"] = None
    terraform.prepare(infra_folder("aws"), variables, _override())
    return terraform


def _variables(spec: DeploymentSpec, package: Path, budget_usd: float) -> dict[str, Any]:
    """Return Terraform's variables. A bucket with photos in it is not let go: `down` says so when it is asked."""
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
    """Return the variables that say what runs jobs."""
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
    """Return what says of all that is made and removed only the things that are known by name, or wait."""
    return lambda line: say(line) if _TOLD.search(line) else None


def _override() -> dict[str, Any] | None:
    """Return what lets Terraform's provider talk to an emulator, where AWS_ENDPOINT_URL names one.

    The provider takes the address from there itself; but it would look for Amazon's own names and metadata.
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
