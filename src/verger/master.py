"""Which Sparks `--master` may name."""

from __future__ import annotations

import re

from verger.errors import SettingsError

VALID = ("local[*]", "local[N]", "spark://HOST:PORT", "yarn", "k8s://https://HOST:PORT")

WHY_NOT_CONNECT = "Spark Connect has no broadcasts and no accumulators, which verger needs"

_STANDALONE = "spark://"
_CONNECT = "sc://"
_NODE = r"(?:\[[0-9a-fA-F:]+\]|[^\s,:/]+):\d+"
_FORMS = re.compile(rf"local(?:\[(?:\*|[1-9]\d*)(?:,\s*\d+)?\])?|{_STANDALONE}{_NODE}(?:,{_NODE})*|yarn|k8s://\S+")


def check_master(master: str) -> str:
    """Return `master`; raises SettingsError where it is none that verger can use."""
    if master.startswith(_CONNECT):
        raise SettingsError(
            "master",
            master,
            f"{_listed()}; {WHY_NOT_CONNECT}: name the cluster's own master",
        )
    if not _FORMS.fullmatch(master):
        raise SettingsError("master", master, _listed())
    return master


def is_standalone(master: str) -> bool:
    """Tell whether it is a master of Spark's own kind of cluster."""
    return master.startswith(_STANDALONE)


def standalone_nodes(master: str) -> list[tuple[str, int]]:
    """Return host and port of each master that a spark:// URL names: more than one where one stands by."""
    nodes = [node.rpartition(":") for node in master.removeprefix(_STANDALONE).split(",")]
    return [(host.strip("[]"), int(port)) for host, _, port in nodes]


def _listed() -> str:
    return "one of " + ", ".join(VALID)
