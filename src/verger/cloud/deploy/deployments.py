"""The deployments that this machine knows: a folder for each in the user's state folder.

`deployment.json` is what was asked for, and beside it lies what the provider keeps there (Terraform's state). It is
written before anything is made: whatever is interrupted, `status` and `down` know where to look.
"""

from __future__ import annotations

import fcntl
import json
import os
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

FILE = "deployment.json"

# It begins the names of buckets, roles and clusters, the strictest of which allow this.
_NAME = re.compile(r"[a-z][a-z0-9-]{1,18}[a-z0-9]")


def check_name(name: str) -> str:
    """Return a deployment's name; raises SettingsError where nothing in a cloud could begin with it."""
    if not _NAME.fullmatch(name):
        raise SettingsError("name", name, "3 to 20 of a-z, 0-9 and -, beginning with a letter")
    return name


def folder_of(name: str) -> Path:
    """Return where a deployment is remembered."""
    return _home() / check_name(name)


def deployment_names() -> list[str]:
    """Return the names of all deployments."""
    return sorted(file.parent.name for file in _home().glob(f"*/{FILE}"))


def has_deployment(name: str | None = None) -> bool:
    """Tell whether there is a deployment of this name; or any at all, where none is named."""
    return bool(deployment_names()) if name is None else (folder_of(name) / FILE).is_file()


def load_deployment(name: str | None = None) -> DeploymentSpec:
    """Return the deployment of this name, or the only one. Raises CloudError where there is none such."""
    if name is None:
        name = _only_one()
    file = folder_of(name) / FILE
    try:
        told = json.loads(file.read_text())
        return DeploymentSpec(**told | {"shape": Shape(**told["shape"])})
    except FileNotFoundError:
        raise CloudError(f"no deployment is called {name!r}: {describe_deployments()}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise CloudError(
            f"{file} cannot be read. What Terraform made is noted beside it: mend the file (another deployment's "
            "shows its form), then `verger cloud down`"
        ) from error


def save_deployment(deployment: DeploymentSpec) -> Path:
    """Write down a deployment, and return its folder."""
    folder = folder_of(deployment.name)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with write_atomically(folder / FILE) as temporary:
        temporary.write_text(json.dumps(asdict(deployment), indent=1))
    return folder


def delete_deployment(name: str) -> None:
    """Remove what is remembered of a deployment that is gone."""
    shutil.rmtree(folder_of(name), ignore_errors=True)


@contextmanager
def deployment_lock(name: str) -> Iterator[None]:
    """Go on while no other command makes or removes this deployment."""
    home = _home()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Beside its folder, which `forget` removes.
    with os.fdopen(os.open(home / f".{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CloudError(f"another command is just changing the deployment {name!r}") from None
        yield


def _home() -> Path:
    return state_dir() / "cloud"


def _only_one() -> str:
    names = deployment_names()
    if len(names) != 1:
        raise CloudError(f"which deployment? {describe_deployments()}" if names else describe_deployments())
    return names[0]


def describe_deployments() -> str:
    """Return what to say of the deployments there are."""
    names = deployment_names()
    return f"--name {' or '.join(names)}" if names else "there is no deployment; `verger cloud up` makes one"
