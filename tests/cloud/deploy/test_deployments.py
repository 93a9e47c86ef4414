"""What this machine remembers of deployments."""

from __future__ import annotations

from pathlib import Path

import pytest

from verger.cloud.deploy import deployments
from verger.cloud.deploy.provider import Deployment, Shape
from verger.errors import CloudError, SettingsError


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERGER_STATE", str(tmp_path))
    return tmp_path


def orchard(name: str = "orchard") -> Deployment:
    return Deployment(
        name, "aws", "eu-west-3", "emr", Shape(2, "m5.xlarge", "m5.xlarge", 8), email="me@example.org"
    )


def test_what_was_asked_for_comes_back_and_the_only_one_needs_no_name() -> None:
    deployments.remember(orchard())
    assert deployments.recall("orchard") == deployments.recall() == orchard()
    deployments.remember(orchard("grove"))
    with pytest.raises(CloudError, match=r"--name grove or orchard"):
        deployments.recall()
    with pytest.raises(CloudError, match=r"'forest'.*--name grove or orchard"):
        deployments.recall("forest")
    deployments.forget("grove")
    assert deployments.recall() == orchard()
    deployments.forget("orchard")
    assert not deployments.is_known()
    with pytest.raises(CloudError, match="verger cloud up"):
        deployments.recall()


def test_a_damaged_one_is_named(state: Path) -> None:
    folder = deployments.remember(orchard())
    for damage in ("{", "{}", '{"name": "orchard", "shape": {}}', "[]"):
        (folder / deployments.FILE).write_text(damage)
        with pytest.raises(CloudError, match=r"orchard/deployment\.json cannot be read"):
            deployments.recall("orchard")


@pytest.mark.parametrize("name", ["", "Orchard", "a", "../elsewhere", "x" * 30, "-orchard", "orchard-"])
def test_a_name_that_no_cloud_would_take_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="name = "):
        deployments.remember(orchard(name))


def test_two_commands_do_not_change_one_deployment_at_once() -> None:
    with deployments.alone("orchard"):
        with pytest.raises(CloudError, match="another command"), deployments.alone("orchard"):
            pass
        with deployments.alone("grove"):
            pass
    with deployments.alone("orchard"):
        deployments.forget("orchard")
