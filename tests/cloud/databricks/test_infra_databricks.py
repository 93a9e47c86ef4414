"""infra/databricks, the asset bundle: it says what `verger cloud up` makes, in keys that Databricks' SDK knows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from databricks.sdk.service import catalog, jobs

from verger.cloud.databricks import requests
from verger.cloud.deploy.provider import DeploymentSpec, Shape
from verger.cloud.deploy.terraform import infra_folder
from verger.cloud.pricing.bill import DISK_GB

pytestmark = pytest.mark.cloud

FOLDER = infra_folder("databricks")
SPEC = DeploymentSpec(
    "orchard",
    "databricks",
    "eu-west-3",
    "job",
    Shape(2, "m5.xlarge", "m5.xlarge", max_workers=8),
    email="orchard@example.org",
)
VOLUME = "/Volumes/main/verger_orchard/files"
# The keys of a bundle and of its variables and targets: docs.databricks.com/dev-tools/bundles/settings
TOP = {"bundle", "include", "variables", "targets"}


@pytest.fixture(scope="module")
def bundle() -> dict[str, Any]:
    return read(FOLDER / "databricks.yml")


@pytest.fixture(scope="module")
def resources(bundle: dict[str, Any]) -> dict[str, Any]:
    """What the bundle makes, with the defaults of its variables put in."""
    return resolved(bundle, "verger_orchard")


def resolved(bundle: dict[str, Any], schema: str) -> dict[str, Any]:
    """Return what the bundle makes; schema: what Databricks calls that of the bundle, not always its name."""
    (pattern,) = bundle["include"]
    (file,) = FOLDER.glob(pattern)
    values = {f"var.{name}": variable["default"] for name, variable in bundle["variables"].items()}
    found: dict[str, Any] = put_in(read(file)["resources"], values | {"resources.schemas.verger.name": schema})
    return found


def read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(file.read_text())
    return content


def put_in(value: Any, values: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: put_in(each, values) for key, each in value.items()}
    if isinstance(value, list):
        return [put_in(each, values) for each in value]
    if not isinstance(value, str):
        return value
    if alone := re.fullmatch(r"\$\{([\w.]+)\}", value):
        return values.get(alone[1], value)
    return re.sub(r"\$\{([\w.]+)\}", lambda found: str(values[found[1]]), value)


def test_the_job_is_the_one_that_verger_makes(resources: dict[str, Any]) -> None:
    assert resources["jobs"]["verger"] == requests.job_settings(
        SPEC, "${resources.cluster_policies.verger.id}", VOLUME
    )


def test_the_paths_of_the_job_follow_a_schema_that_development_mode_renames(bundle: dict[str, Any]) -> None:
    found = resolved(bundle, "dev_ada_verger_orchard")
    volume = VOLUME.replace("verger_orchard", found["volumes"]["files"]["schema_name"])
    assert "dev_ada_" in volume
    assert found["jobs"]["verger"] == requests.job_settings(SPEC, "${resources.cluster_policies.verger.id}", volume)


def test_the_policy_is_the_one_that_verger_makes(resources: dict[str, Any]) -> None:
    policy = resources["cluster_policies"]["verger"]
    assert policy == {"name": requests.title(SPEC.name), "definition": requests.policy_definition(SPEC)}


def test_every_key_is_one_of_databricks(bundle: dict[str, Any], resources: dict[str, Any]) -> None:
    assert bundle.keys() == TOP and resources.keys() == {"schemas", "volumes", "cluster_policies", "jobs"}
    job = resources["jobs"]["verger"]
    assert jobs.JobSettings.from_dict(job).as_dict() == job
    schema, volume = resources["schemas"]["verger"], resources["volumes"]["files"]
    assert catalog.SchemaInfo.from_dict(schema).as_dict() == schema
    assert catalog.VolumeInfo.from_dict(volume).as_dict() == volume


def test_no_variable_is_unknown_or_unused(bundle: dict[str, Any]) -> None:
    text = "".join(file.read_text() for file in FOLDER.rglob("*.yml"))
    assert set(re.findall(r"\$\{var\.(\w+)\}", text)) == set(bundle["variables"])
    for target in bundle["targets"].values():
        assert target.get("variables", {}).keys() <= bundle["variables"].keys()


@pytest.mark.parametrize("spot", [True, False])
def test_on_aws_every_machine_has_a_disk_which_m5_has_not_of_its_own(spot: bool) -> None:
    spec = replace(SPEC, shape=replace(SPEC.shape, spot=spot))
    (job_cluster,) = jobs.JobSettings.from_dict(requests.job_settings(spec, "p", VOLUME)).as_dict()["job_clusters"]
    attributes = job_cluster["new_cluster"]["aws_attributes"]
    assert attributes["ebs_volume_count"] == 1 and attributes["ebs_volume_type"]
    assert attributes["ebs_volume_size"] == DISK_GB, "as the bill has it"


@pytest.mark.parametrize("region", ["eu-west-3", "europe-west9", "francecentral"])
def test_the_job_suits_the_cloud_below_the_workspace(region: str) -> None:
    spec = DeploymentSpec("orchard", "databricks", region, "job", Shape(2, "m", "m"))
    (job_cluster,) = jobs.JobSettings.from_dict(requests.job_settings(spec, "p", VOLUME)).as_dict()["job_clusters"]
    clouds = {key for key in job_cluster["new_cluster"] if key.endswith("_attributes")}
    assert clouds == {f"{requests.cloud_below(region)}_attributes"}
