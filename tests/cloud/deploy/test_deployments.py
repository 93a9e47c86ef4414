"""What this machine remembers of deployments."""

from __future__ import annotations

from pathlib import Path

import pytest

from verger.cloud.deploy import deployments
from verger.cloud.deploy.provider import DeploymentSpec, Shape
from verger.errors import CloudError, SettingsError


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERGER_STATE", str(tmp_path))
    return tmp_path


def orchard(name: str = "orchard") -> DeploymentSpec:
    return DeploymentSpec(
        name, "aws", "eu-west-3", "emr", Shape(2, "m5.xlarge", "m5.xlarge", 8), email="me@example.org"
    )


def test_what_was_asked_for_comes_back_and_the_only_one_needs_no_name() -> None:
    deployments.save_deployment(orchard())
    assert deployments.load_deployment("orchard") == deployments.load_deployment() == orchard()
    deployments.save_deployment(orchard("grove"))
    with pytest.raises(CloudError, match=r"--name grove or orchard"):
        deployments.load_deployment()
    with pytest.raises(CloudError, match=r"'forest'.*--name grove or orchard"):
        deployments.load_deployment("forest")
    deployments.delete_deployment("grove")
    assert deployments.load_deployment() == orchard()
    deployments.delete_deployment("orchard")
    assert not deployments.has_deployment()
    with pytest.raises(CloudError, match="verger cloud up"):
        deployments.load_deployment()


def test_a_damaged_one_is_named(state: Path) -> None:
    folder = deployments.save_deployment(orchard())
    for damage in ("{", "{}", '{"name": "orchard", "shape": {}}', "[]"):
        (folder / deployments.FILE).write_text(damage)
        with pytest.raises(CloudError, match=r"orchard/deployment\.json cannot be read"):
            deployments.load_deployment("orchard")


@pytest.mark.parametrize("name", ["", "Orchard", "a", "../elsewhere", "x" * 30, "-orchard", "orchard-"])
def test_a_name_that_no_cloud_would_take_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="name = "):
        deployments.save_deployment(orchard(name))


def test_two_commands_do_not_change_one_deployment_at_once() -> None:
    with deployments.deployment_lock("orchard"):
        with pytest.raises(CloudError, match="another command"), deployments.deployment_lock("orchard"):
            pass
        with deployments.deployment_lock("grove"):
            pass
    with deployments.deployment_lock("orchard"):
        deployments.delete_deployment("orchard")
