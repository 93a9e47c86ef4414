"""Terraform as verger runs it: on a module that needs no provider, so that nothing is downloaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from verger.cloud.deploy.terraform import PLUGINS, Terraform, infra_folder
from verger.errors import CloudError, SetupError

pytestmark = [
    pytest.mark.cloud,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="Terraform is not on PATH"),
]

MODULE = """
variable "fruit" { type = string }
variable "missing" {
  type    = bool
  default = false
}
resource "terraform_data" "orchard" { input = var.fruit }
resource "terraform_data" "tree" {
  input = terraform_data.orchard.output
  lifecycle {
    precondition {
      condition     = !var.missing
      error_message = "no tree without water"
    }
  }
}
output "fruit" { value = terraform_data.tree.output }
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "main.tf").write_text(MODULE)
    return folder


def test_what_is_made_is_told_kept_and_removed(module: Path, tmp_path: Path) -> None:
    terraform, lines = Terraform(tmp_path / "here"), list[str]()
    terraform.prepare(module, {"fruit": "pear"})
    changes = terraform.plan()["resource_changes"]
    assert [change["change"]["actions"] for change in changes] == [["create"], ["create"]]
    assert not terraform.has_state, "a plan makes nothing"

    terraform.apply(lines.append)
    assert lines == ["made terraform_data.orchard", "made terraform_data.tree"]
    assert terraform.output() == {"fruit": "pear"}

    terraform.prepare(module, {"fruit": "apple"})
    terraform.apply(lines.append)
    assert terraform.output() == {"fruit": "apple"}, "the state outlives new variables"

    assert terraform.addresses() == ["terraform_data.orchard", "terraform_data.tree"]
    terraform.destroy(lines.append)
    assert terraform.addresses() == [] and lines[-1] == "removed terraform_data.orchard"
    terraform.destroy(lines.append)


def test_files_that_a_module_has_no_more_go(module: Path, tmp_path: Path) -> None:
    terraform = Terraform(tmp_path / "here")
    (module / "more.tf").write_text('output "more" { value = 1 }')
    terraform.prepare(module, {"fruit": "pear"}, {"output": {"more": {"value": 2}}})
    terraform.apply(lambda line: None)
    assert terraform.output()["more"] == 2, "the override counts"
    (module / "more.tf").unlink()
    terraform.prepare(module, {"fruit": "pear"})
    terraform.apply(lambda line: None)
    assert terraform.output() == {"fruit": "pear"}


def test_a_refusal_is_told_in_the_words_of_the_module(module: Path, tmp_path: Path) -> None:
    terraform = Terraform(tmp_path / "here")
    terraform.prepare(module, {"fruit": "pear", "missing": True})
    with pytest.raises(CloudError, match="no tree without water"):
        terraform.apply(lambda line: None)


def test_without_terraform_it_says_what_to_install(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"Terraform is not on PATH: install 1\.11"):
        Terraform(tmp_path / "here").prepare(module, {"fruit": "pear"})


def test_a_provider_that_cannot_be_had_is_said(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (module / "aws.tf").write_text('resource "aws_vpc" "main" {}')
    monkeypatch.setenv(PLUGINS, str(tmp_path))
    with pytest.raises(SetupError, match=PLUGINS):
        Terraform(tmp_path / "here").prepare(module, {"fruit": "pear"})


def test_an_unknown_module_is_said() -> None:
    with pytest.raises(SetupError, match="infra/moon"):
        infra_folder("moon")


def test_what_was_made_before_an_interruption_is_known_and_removed(module: Path, tmp_path: Path) -> None:
    (module / "slow.tf").write_text("""
resource "terraform_data" "slow" {
  depends_on = [terraform_data.tree]
  provisioner "local-exec" { command = "sleep 60" }
}
""")
    terraform = Terraform(tmp_path / "here")
    terraform.prepare(module, {"fruit": "pear"})

    def interrupt(line: str) -> None:
        if "tree" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        terraform.apply(interrupt)
    assert {"terraform_data.orchard", "terraform_data.tree"} <= set(terraform.addresses())
    terraform.destroy(lambda line: None)
    assert terraform.addresses() == []
