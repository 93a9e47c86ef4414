"""Terraform, run on a copy of infra/ in a deployment's own folder, which keeps its state.

A machine without a way to Terraform's registry takes the providers from VERGER_TF_PLUGINS, a folder as
`terraform providers mirror` makes it.
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
# What a module consists of; state and provider, which lie beside it in a deployment's folder, are not copied.
_MODULE_FILES = ("*.tf", "*.json", "*.tftpl")
_VARIABLES = "terraform.tfvars.json"
_STATE = "terraform.tfstate"

_DONE = {"create": "made", "update": "changed", "delete": "removed", "replace": "replaced", "read": "read"}

# Clusters take minutes: so often it is said that something still goes on. Terraform tells it every 10 s.
_SILENCE_S = 60

_MISSING = (
    "Terraform is not on PATH: install 1.11 or newer (https://developer.hashicorp.com/terraform/install), "
    "then try again"
)


def infra_folder(name: str) -> Path:
    """Return infra/NAME: beside the modules of an installed verger, at the root of a checkout."""
    package = Path(__file__).parents[2]
    for root in (package, package.parents[1]):
        if (found := root / "infra" / name).is_dir():
            return found
    raise SetupError(f"infra/{name} lacks in this installation of verger: install it anew")


def find_program() -> str:
    """Return where Terraform is; raises SetupError where it is missing."""
    program = shutil.which("terraform")
    if program is None:
        raise SetupError(_MISSING)
    return program


def terraform_of(spec: DeploymentSpec) -> Terraform:
    """Return Terraform in the deployment's folder."""
    return Terraform(folder_of(spec.name) / "terraform")


@dataclass(frozen=True)
class Terraform:
    """One deployment's folder: the module's files, its variables, and what Terraform remembers."""

    folder: Path

    @property
    def has_state(self) -> bool:
        """Whether anything has ever been made from here."""
        return (self.folder / _STATE).is_file()

    def prepare(
        self, module: Path, variables: Mapping[str, object], override: Mapping[str, object] | None = None
    ) -> None:
        """Bring the module's files and the variables here, in the place of older ones, and fetch the provider.

        override: merged by Terraform into the module, as its override files are: other endpoints, say.
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
        """Return what would change, as `terraform show -json` tells it; nothing is made."""
        self._follow(lambda line: None, "plan", "-out=next.tfplan")
        shown = self._run("show", "-json", "next.tfplan")
        return _object(shown.stdout)

    def apply(self, say: Callable[[str], None], only: str | None = None) -> None:
        """Make what the module says, a line for each thing that is done; `only`: one address, and what it needs."""
        target = (f"-target={only}",) if only else ()
        self._follow(say, "apply", "-auto-approve", *target)

    def destroy(self, say: Callable[[str], None]) -> None:
        """Remove everything. What shall stay is no matter of Terraform's targets: apply with engine = "none"."""
        self._follow(say, "destroy", "-auto-approve")

    def output(self) -> dict[str, Any]:
        """Return the module's outputs; empty where nothing has been made."""
        outputs = _object(self._run("output", "-json").stdout)
        return {name: told["value"] for name, told in outputs.items()}

    def addresses(self) -> list[str]:
        """Return what Terraform knows to exist, by its addresses."""
        return self._run("state", "list").stdout.split() if self.has_state else []

    def variables(self) -> dict[str, Any]:
        """Return the variables that `prepare` was given last; none where it never was."""
        file = self.folder / _VARIABLES
        return _object(file.read_text()) if file.is_file() else {}

    def _init(self) -> None:
        plugins = os.environ.get(PLUGINS)
        where = (f"-plugin-dir={plugins}",) if plugins else ()
        done = self._run("init", "-input=false", "-no-color", *where, check=False)
        if done.returncode:
            raise SetupError(
                f"terraform init failed: {done.stderr.strip()}\nWithout a way to Terraform's registry, set "
                f"{PLUGINS} to a folder that `terraform providers mirror` has made elsewhere"
            )

    def _follow(self, say: Callable[[str], None], *words: str) -> None:
        """Run a command that tells its progress as JSON; say what was done, raise what went wrong.

        It is in a session of its own: Ctrl-C is ours to hand on, once. Terraform then ends its calls and notes its
        state; a second one would have it drop everything, and so would a pipe that we have left.
        """
        refused: list[str] = []
        with subprocess.Popen(
            self._command(*words, "-input=false", "-json"),
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
                    _tell(_event(line), say, refused)
            except BaseException:
                with block_interrupts():
                    process.send_signal(signal.SIGINT)
                    with suppress(OSError):  # the terminal may be gone
                        say("Terraform ends what it has begun: wait")
                    process.communicate()
                raise
        if process.returncode:
            told = "\n".join(dict.fromkeys(refused)) or f"exit code {process.returncode}"
            raise CloudError(f"terraform {words[0]} failed in {self.folder}:\n{told}")

    def _run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self._command(*words), cwd=self.folder, capture_output=True, text=True, env=_environment(), check=False
        )
        if check and done.returncode:
            raise CloudError(f"terraform {words[0]} failed in {self.folder}: {done.stderr.strip()}")
        return done

    def _command(self, *words: str) -> list[str]:
        return [find_program(), *words]


def _environment() -> dict[str, str]:
    # CHECKPOINT_DISABLE: no call home to ask for newer versions.
    return {**os.environ, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}


def _write(file: Path, content: Mapping[str, object]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n")


def _object(text: str) -> dict[str, Any]:
    """Parse what Terraform prints: a JSON object."""
    told: dict[str, Any] = json.loads(text or "{}")
    return told


def _event(line: str) -> dict[str, Any]:
    """Parse a line of progress; what is no JSON (a warning on the configuration of Terraform) says nothing."""
    return _object(line) if line.startswith("{") else {}


def _tell(event: Mapping[str, Any], say: Callable[[str], None], refused: list[str]) -> None:
    """Say what an event is about, if it is something that was done; note what is refused."""
    if event.get("type") == "diagnostic" and event["diagnostic"]["severity"] == "error":
        refused.append(_told(event["diagnostic"]))
    elif event.get("type") == "apply_complete":
        hook = event["hook"]
        say(f"{_DONE.get(hook['action'], hook['action'])} {hook['resource']['addr']}")
    elif event.get("type") == "apply_progress" and event["hook"]["elapsed_seconds"] % _SILENCE_S == 0:
        hook = event["hook"]
        say(f"still at {hook['resource']['addr']}, for {hook['elapsed_seconds'] // 60} min")


def _told(diagnostic: Mapping[str, Any]) -> str:
    where = f"{diagnostic['address']}: " if diagnostic.get("address") else ""
    return " ".join(f"{where}{diagnostic['summary']} {diagnostic.get('detail', '')}".split())
