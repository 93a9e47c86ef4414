"""Checks when a command starts: misspelt variables, the working folder, the encoding of the output."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from difflib import get_close_matches

from verger.errors import SettingsError
from verger.serve.settings import SECRETS_VARIABLE, ServeSettings
from verger.settings import Settings
from verger.settings.toml_table import ENV_PREFIX
from verger.storage.cache import CACHE_VARIABLE, STATE_VARIABLE

# Variables of `verger cloud`, and of the scripts that install verger on the machines of a cloud.
_CLOUD_VARIABLES = ("VERGER_TF_PLUGINS", "VERGER_PACKAGE", "VERGER_VENV")

# If a service is called verger, Kubernetes sets such variables in every container.
_OF_KUBERNETES = re.compile(rf"{ENV_PREFIX}(SERVICE_|PORT(_|$))")


def escape_output() -> None:
    """Make stdout and stderr escape the characters that they cannot encode, such as those of names not in UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # a test or a caller may have replaced the stream
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def check_working_folder() -> None:
    """Raise SettingsError if the working folder was removed, because relative paths then have no meaning."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        folder = os.environ.get("PWD", ".")
        raise SettingsError("working folder", folder, "a folder that exists: change to another one") from error


def unknown_variables() -> dict[str, str]:
    """Return variable -> advice for each variable that begins with VERGER_ but that verger does not read."""
    known = [f"{ENV_PREFIX}{name.upper()}" for name in (*Settings.model_fields, *ServeSettings.model_fields)]
    known += [CACHE_VARIABLE, STATE_VARIABLE, SECRETS_VARIABLE, *_CLOUD_VARIABLES]
    found = {}
    for name in sorted(os.environ):
        if not name.upper().startswith(ENV_PREFIX) or name.upper() in known or _OF_KUBERNETES.match(name.upper()):
            continue
        nearest = get_close_matches(name.upper(), known, n=1, cutoff=0.75)
        found[name] = (
            f"did you mean {nearest[0]}?" if nearest else "`verger run --show-settings` lists the settings"
        )
    return found
