"""The permanent parts of a deployment on Google Cloud: bucket, network, service account, budget (with Terraform).

The module `machines` starts and ends machines with Google's own client. Terraform does not record them, so its
state stays correct when Google removes an idle cluster.
"""

from __future__ import annotations

from typing import Any

from verger.cloud.deploy.provider import DeploymentSpec
from verger.cloud.deploy.terraform import Terraform, infra_folder, terraform_of
from verger.cloud.gcp.names import Names

DATA_ONLY = "none"  # value of infra/gcp's variable `engine` that keeps only the bucket


def prepare(spec: DeploymentSpec, *, engine: str | None = None, force_destroy: bool = False) -> Terraform:
    """Copy the Terraform module into the deployment's folder, and write its variables."""
    terraform = terraform_of(spec)
    changed = {"engine": engine or spec.engine, "force_destroy": force_destroy}
    terraform.prepare(infra_folder("gcp"), variables(spec) | changed)
    return terraform


def variables(spec: DeploymentSpec) -> dict[str, Any]:
    """Return Terraform's variables. Only `down` sets force_destroy, so that Terraform can remove a full bucket."""
    shape = spec.shape
    return {
        "name": spec.name,
        "project": Names.of(spec).project,
        "region": spec.region,
        "engine": spec.engine,
        "workers": shape.workers,
        "max_workers": shape.peak_workers,
        "budget": spec.budget_eur,
        "email": spec.email,
        "force_destroy": False,
    }
