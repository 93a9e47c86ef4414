"""Run Terraform on a copy of a module of infra/. The copy and Terraform's state are in the deployment's own folder.

If a machine cannot reach Terraform's registry, set VERGER_TF_PLUGINS to a folder with the providers; the command
`terraform providers mirror` creates such a folder.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verger.cloud.deploy.deployments import folder_of
from verger.cloud.deploy.provider import DeploymentSpec
from verger.errors import CloudError, SetupError
from verger.process.signals import block_interrupts

PLUGINS = "VERGER_TF_PLUGINS"
# Name patterns of a module's files.
_MODULE_FILES = ("*.tf", "*.json", "*.tftpl")
_VARIABLES = "terraform.tfvars.json"
_STATE = "terraform.tfstate"

_PAST_TENSE = {"create": "made", "update": "changed", "delete": "removed", "replace": "replaced", "read": "read"}

# Interval between messages about a slow resource, in seconds; Terraform itself reports every 10 s.
_PROGRESS_S = 60

_MISSING = (
    "Terraform is not on PATH: install 1.11 or newer (https://developer.hashicorp.com/terraform/install), "
    "then try again"
)


def infra_folder(name: str) -> Path:
    """Return the folder infra/NAME: in an installed verger it is in the package, in a checkout at the root."""
    package = Path(__file__).parents[2]
    for root in (package, package.parents[1]):
        if (folder := root / "infra" / name).is_dir():
            return folder
    raise SetupError(f"infra/{name} is missing in this installation of verger: install it again")


def find_program() -> str:
    """Return the path of Terraform's program; raises SetupError if it is missing."""
    program = shutil.which("terraform")
    if program is None:
        raise SetupError(_MISSING)
    return program


def terraform_of(spec: DeploymentSpec) -> Terraform:
    """Return Terraform in the deployment's folder."""
    return Terraform(folder_of(spec.name) / "terraform")


@dataclass(frozen=True)
class Terraform:
    """Terraform in one deployment's folder, which holds the module's files, the variables and the state."""

    folder: Path

    @property
    def has_state(self) -> bool:
        """Whether Terraform has created resources from this folder."""
        return (self.folder / _STATE).is_file()

    def prepare(
        self, module: Path, variables: Mapping[str, object], override: Mapping[str, object] | None = None
    ) -> None:
        """Copy the module's files, write the variables, and run `terraform init`; old files are replaced.

        override: content of an override file, which Terraform merges into the module: for example other endpoints.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.glob("*.tf*"):
            if old.is_file() and not old.name.startswith(_STATE):
                old.unlink()
        for pattern in _MODULE_FILES:
            for file in module.glob(pattern):
                shutil.copy(file, self.folder)
        _write(self.folder / _VARIABLES, variables)
        if override:
            _write(self.folder / "verger_override.tf.json", override)
        self._init()

    def plan(self) -> dict[str, Any]:
        """Return the changes that `apply` would make, in the format of `terraform show -json`; make no changes."""
        self._follow(lambda line: None, "plan", "-out=next.tfplan")
        shown = self._run("show", "-json", "next.tfplan")
        return _object(shown.stdout)

    def apply(self, say: Callable[[str], None], only: str | None = None) -> None:
        """Create or change the module's resources; report each change in one line.

        only: address of a resource; change only this resource and the resources on which it depends.
        """
        target = (f"-target={only}",) if only else ()
        self._follow(say, "apply", "-auto-approve", *target)

    def destroy(self, say: Callable[[str], None]) -> None:
        """Remove all resources. To keep the data, apply with engine = "none" instead."""
        self._follow(say, "destroy", "-auto-approve")

    def output(self) -> dict[str, Any]:
        """Return the module's outputs; empty if there are no resources yet."""
        outputs = _object(self._run("output", "-json").stdout)
        return {name: output["value"] for name, output in outputs.items()}

    def addresses(self) -> list[str]:
        """Return the addresses of the resources in Terraform's state."""
        return self._run("state", "list").stdout.split() if self.has_state else []

    def variables(self) -> dict[str, Any]:
        """Return the variables of the last `prepare`; empty before the first one."""
        file = self.folder / _VARIABLES
        return _object(file.read_text()) if file.is_file() else {}

    def _init(self) -> None:
        plugins = os.environ.get(PLUGINS)
        option = (f"-plugin-dir={plugins}",) if plugins else ()
        done = self._run("init", "-input=false", "-no-color", *option, check=False)
        if done.returncode:
            raise SetupError(
                f"terraform init failed: {done.stderr.strip()}\nIf this machine cannot reach Terraform's registry, "
                f"set {PLUGINS} to a folder that `terraform providers mirror` has written on another machine"
            )

    def _follow(self, say: Callable[[str], None], *arguments: str) -> None:
        """Run a command that prints its progress as JSON, and report changes. Raises CloudError if it fails.

        Terraform runs in its own session, and this method passes only the first Ctrl-C to it. Terraform then ends
        its requests and writes its state. A second Ctrl-C, or a closed pipe, would prevent this.
        """
        errors: list[str] = []
        with subprocess.Popen(
            self._command(*arguments, "-input=false", "-json"),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=_environment(),
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    _report(_event(line), say, errors)
            except BaseException:
                with block_interrupts():
                    process.send_signal(signal.SIGINT)
                    with suppress(OSError):  # the terminal may have been closed
                        say("Terraform is ending its requests: please wait")
                    process.communicate()
                raise
        if process.returncode:
            message = "\n".join(dict.fromkeys(errors)) or f"exit code {process.returncode}"
            raise CloudError(f"terraform {arguments[0]} failed in {self.folder}:\n{message}")

    def _run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self._command(*arguments),
            cwd=self.folder,
            capture_output=True,
            text=True,
            env=_environment(),
            check=False,
        )
        if check and done.returncode:
            raise CloudError(f"terraform {arguments[0]} failed in {self.folder}: {done.stderr.strip()}")
        return done

    def _command(self, *arguments: str) -> list[str]:
        return [find_program(), *arguments]


def _environment() -> dict[str, str]:
    # CHECKPOINT_DISABLE: Terraform does not check for newer versions.
    return {**os.environ, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}


def _write(file: Path, content: Mapping[str, object]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n")


def _object(text: str) -> dict[str, Any]:
    """Parse a JSON object; an empty text is an empty object."""
    parsed: dict[str, Any] = json.loads(text or "{}")
    return parsed


def _event(line: str) -> dict[str, Any]:
    """Parse a progress line. Return an empty event for a line that is not JSON, such as a warning of Terraform."""
    return _object(line) if line.startswith("{") else {}


def _report(event: Mapping[str, Any], say: Callable[[str], None], errors: list[str]) -> None:
    """Report progress to the user; if the event is an error, add it to `errors`."""
    if event.get("type") == "diagnostic" and event["diagnostic"]["severity"] == "error":
        errors.append(_describe(event["diagnostic"]))
    elif event.get("type") == "apply_complete":
        hook = event["hook"]
        say(f"{_PAST_TENSE.get(hook['action'], hook['action'])} {hook['resource']['addr']}")
    elif event.get("type") == "apply_progress" and event["hook"]["elapsed_seconds"] % _PROGRESS_S == 0:
        hook = event["hook"]
        say(f"still working on {hook['resource']['addr']}, {hook['elapsed_seconds'] // 60} min so far")


def _describe(diagnostic: Mapping[str, Any]) -> str:
    address = f"{diagnostic['address']}: " if diagnostic.get("address") else ""
    return " ".join(f"{address}{diagnostic['summary']} {diagnostic.get('detail', '')}".split())
