"""What lasts of a deployment on Google's cloud, made by Terraform: bucket, network, service account, budget.

The machines, which cost, come and go by Google's own client (`requests`): Terraform need not be asked when Google
has ended an idle cluster, and each request is of that client's types, which the tests' stand-in reads.
"""

from __future__ import annotations

from typing import Any

from verger.cloud.deploy.provider import DeploymentSpec
from verger.cloud.deploy.terraform import Terraform, infra_folder, terraform_of
from verger.cloud.gcp.names import Names

NOTHING = "none"  # the engine of a deployment that keeps its data alone


def prepare(spec: DeploymentSpec, *, engine: str | None = None, force_destroy: bool = False) -> Terraform:
    """Bring the module and the variables into the deployment's folder."""
    terraform = terraform_of(spec)
    told = variables(spec) | {"engine": engine or spec.engine, "force_destroy": force_destroy}
    terraform.prepare(infra_folder("gcp"), told)
    return terraform


def variables(spec: DeploymentSpec) -> dict[str, Any]:
    """Return Terraform's variables. The bucket is not let go with photos in it, but where `down` is told to."""
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
