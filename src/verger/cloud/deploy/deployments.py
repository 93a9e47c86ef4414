"""The deployments that this machine has created; each of them has a folder in the user's state folder.

The folder holds the spec, `deployment.json`, and the provider's files (Terraform's state). The spec is saved before
any resource is created, so that `status` and `down` work after an interrupted `up`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from verger.cloud.deploy.provider import DeploymentSpec, Shape
from verger.errors import CloudError, SettingsError
from verger.storage.atomic import write_atomically
from verger.storage.cache import state_dir
from verger.storage.command_lock import hold_lock

FILE = "deployment.json"

# Names of buckets, roles and clusters contain a deployment's name. The pattern satisfies the strictest rule for
# them.
_NAME = re.compile(r"[a-z][a-z0-9-]{1,18}[a-z0-9]")


def check_name(name: str) -> str:
    """Return a deployment's name; raises SettingsError if a cloud would refuse it."""
    if not _NAME.fullmatch(name):
        raise SettingsError("name", name, "3 to 20 of a-z, 0-9 and -, beginning with a letter")
    return name


def folder_of(name: str) -> Path:
    """Return the folder of a deployment."""
    return _home() / check_name(name)


def deployment_names() -> list[str]:
    """Return the names of all deployments."""
    return sorted(file.parent.name for file in _home().glob(f"*/{FILE}"))


def has_deployment(name: str | None = None) -> bool:
    """Return whether there is a deployment of this name, or any deployment if no name is given."""
    return bool(deployment_names()) if name is None else (folder_of(name) / FILE).is_file()


def load_deployment(name: str | None = None) -> DeploymentSpec:
    """Return the deployment of this name, or the only one. Raises CloudError if there is no such deployment."""
    if name is None:
        name = _only_name()
    file = folder_of(name) / FILE
    try:
        content = json.loads(file.read_text())
        return DeploymentSpec(**content | {"shape": Shape(**content["shape"])})
    except FileNotFoundError:
        raise CloudError(f"no deployment is called {name!r}: {describe_deployments()}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise CloudError(
            f"{file} cannot be read, but resources may exist: repair the file (deployment.json of another "
            "deployment shows the format), then run `verger cloud down`"
        ) from error


def save_deployment(spec: DeploymentSpec) -> Path:
    """Save a deployment's spec, and return its folder."""
    folder = folder_of(spec.name)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with write_atomically(folder / FILE) as temporary:
        temporary.write_text(json.dumps(asdict(spec), indent=1))
    return folder


def delete_deployment(name: str) -> None:
    """Remove the folder of a deployment that no longer exists."""
    shutil.rmtree(folder_of(name), ignore_errors=True)


@contextmanager
def deployment_lock(name: str) -> Iterator[None]:
    """Hold the lock of a deployment; raises CloudError if another command creates or removes this deployment."""
    busy = CloudError(f"another command is changing the deployment {name!r}: wait until it ends")
    # The lock file is beside the deployment's folder, because `delete_deployment` removes this folder.
    with hold_lock(_home() / f".{name}.lock", busy):
        yield


def _home() -> Path:
    return state_dir() / "cloud"


def _only_name() -> str:
    names = deployment_names()
    if len(names) != 1:
        raise CloudError(f"which deployment? {describe_deployments()}" if names else describe_deployments())
    return names[0]


def describe_deployments() -> str:
    """Return a hint for messages: the names to choose from, or the command that creates a deployment."""
    names = deployment_names()
    return f"--name {' or '.join(names)}" if names else "there is no deployment; `verger cloud up` creates one"


def check_same_location(deployment: DeploymentSpec) -> None:
    """Raise CloudError if a deployment with this name exists elsewhere, because its record would be overwritten.

    Elsewhere: on another provider, or in another region, project, workspace or catalog.
    """
    if not has_deployment(deployment.name):
        return
    location = _location(load_deployment(deployment.name))
    if location != _location(deployment):
        flags = " ".join(f"--{flag} {value}" for flag, value in location.items() if value)
        raise CloudError(
            f"another deployment {deployment.name!r} exists ({flags}): use another --name, or remove the other "
            f"deployment first: verger cloud down --name {deployment.name}"
        )


def _location(deployment: DeploymentSpec) -> dict[str, str | None]:
    return {flag: getattr(deployment, flag) for flag in ("provider", "region", "project", "workspace", "catalog")}
