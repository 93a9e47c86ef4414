"""Which Sparks `--master` may name."""

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
    """Return `master`; raises SettingsError where it is none that verger can use."""
    if not _FORMS.fullmatch(master):
        raise SettingsError("master", master, "one of " + ", ".join(VALID))
    return master


def is_standalone(master: str) -> bool:
    """Tell whether it is a master of Spark's own kind of cluster."""
    return master.startswith(_STANDALONE)


def is_connect(master: str) -> bool:
    """Tell whether it is a server of Spark Connect, which is talked to without a JVM of our own."""
    return master.startswith(_CONNECT)


def standalone_nodes(master: str) -> list[tuple[str, int]]:
    """Return host and port of each master that a spark:// URL names: more than one where one stands by."""
    nodes = [node.rpartition(":") for node in master.removeprefix(_STANDALONE).split(",")]
    return [(host.strip("[]"), int(port)) for host, _, port in nodes]
