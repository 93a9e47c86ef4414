"""Valid values of `--master`."""

from __future__ import annotations

import re

from verger.errors import SettingsError

VALID = ("local[*]", "local[N]", "spark://HOST:PORT", "yarn", "k8s://https://HOST:PORT", "sc://HOST:PORT")

_STANDALONE = "spark://"
_CONNECT = "sc://"
_NODE = r"(?:\[[0-9a-fA-F:]+\]|[^\s,:/]+):\d+"
_FORMS = re.compile(
    rf"local(?:\[(?:\*|[1-9]\d*)(?:,\s*\d+)?\])?|{_STANDALONE}{_NODE}(?:,{_NODE})*|yarn|k8s://\S+|{_CONNECT}\S+"
)


def check_master(master: str) -> str:
    """Return `master`. Raises SettingsError if verger cannot use it."""
    if not _FORMS.fullmatch(master):
        raise SettingsError("master", master, "one of " + ", ".join(VALID))
    return master


def is_standalone(master: str) -> bool:
    """Return whether `master` is the URL of a Spark standalone cluster."""
    return master.startswith(_STANDALONE)


def is_connect(master: str) -> bool:
    """Return whether `master` is the URL of a Spark Connect server, which needs no JVM on this machine."""
    return master.startswith(_CONNECT)


def standalone_nodes(master: str) -> list[tuple[str, int]]:
    """Return host and port of each master in a spark:// URL; a URL with standby masters has several."""
    nodes = [node.rpartition(":") for node in master.removeprefix(_STANDALONE).split(",")]
    return [(host.strip("[]"), int(port)) for host, _, port in nodes]
