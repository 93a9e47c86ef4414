"""What a cluster wants of a session, besides what photos want of any Spark.

How many cores a cluster has cannot be asked before executors have come, which is too late to cut the photos
into tasks for them. The rule, in this order: `spark.default.parallelism` of the caller's settings;
`spark.cores.max`; `spark.dynamicAllocation.maxExecutors`, where these come and go, or else
`spark.executor.instances`, times `spark.executor.cores`; what `verger cluster up` started; else ASSUMED_CORES.
It becomes Spark's own `spark.default.parallelism`, which everything else goes by.
"""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Mapping
from contextlib import suppress

from verger.engine.spark.standalone.state import running_cluster
from verger.errors import SetupError
from verger.spark_master import is_standalone, standalone_nodes

# Too many small tasks cost milliseconds each, too few leave cores idle.
ASSUMED_CORES = 32

# So many executors at most is how a platform says that there is no limit (Dataproc: 10,000).
_UNLIMITED = 1000

_ANSWER_S = 5.0

# Spark's own least for its JVM, and what a Python worker may take.
JVM_MB, WORKER_MB = 384, 600
_IMAGES = ("spark.kubernetes.container.image", "spark.kubernetes.executor.container.image")


def cluster_settings(master: str, given: Mapping[str, str], fast_start: list[str]) -> dict[str, str]:
    """Return what Spark is told of a cluster; raises SetupError.

    `given` are the caller's settings, `fast_start` the Java options that make a JVM on this machine start fast.
    """
    settings = {"spark.default.parallelism": str(cluster_cores(master, given))}
    # A driver behind a translated address is named by those who know it.
    is_named = "spark.driver.host" in given or "SPARK_LOCAL_IP" in os.environ
    if is_standalone(master):
        shown = address_shown_to(master)
        settings |= {} if is_named else {"spark.driver.host": shown}
    else:
        settings |= _managed_settings(master, given)
    if own := running_cluster(master):
        # Its executors run here, from the same jars.
        settings |= {
            "spark.executor.memory": own.memory,
            "spark.executor.extraJavaOptions": shlex.join(fast_start),
        }
    return settings


def _managed_settings(master: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return what executors in containers, YARN's or Kubernetes', want; raises SetupError where something lacks."""
    if master == "yarn" and not os.environ.keys() & {"HADOOP_CONF_DIR", "YARN_CONF_DIR"}:
        raise SetupError("yarn is found by its configuration: point HADOOP_CONF_DIR at the folder that holds it")
    if os.environ.keys() & {"SPARK_HOME", "SPARK_CONF_DIR"}:  # a Spark with defaults of its own, which know better
        return {}
    if master != "yarn" and not any(key in given for key in _IMAGES):
        raise SetupError(f"{master} needs an image with Spark and verger in it: --conf {_IMAGES[0]}=IMAGE")
    n_workers = 1
    with suppress(KeyError, ValueError):
        n_workers = max(1, int(given["spark.executor.cores"]))
    # A container that outgrows what was asked for is killed, and the Python workers are beside the heap.
    return {"spark.executor.memoryOverhead": f"{JVM_MB + n_workers * WORKER_MB}m"}


def cluster_cores(master: str, given: Mapping[str, str]) -> int:
    """Return for how many cores the photos are cut (the rule is the module's)."""
    for key in ("spark.default.parallelism", "spark.cores.max"):
        with suppress(KeyError, ValueError):
            return max(1, int(given[key]))
    executors = _most_executors(given)
    with suppress(KeyError, ValueError):
        return max(1, int(given[executors])) * max(1, int(given["spark.executor.cores"]))
    own = running_cluster(master)
    return own.n_cores if own else ASSUMED_CORES


def _most_executors(given: Mapping[str, str]) -> str:
    """Return the setting that says how many executors there will be at most."""
    most = "spark.dynamicAllocation.maxExecutors"
    is_dynamic = given.get("spark.dynamicAllocation.enabled", "").lower() == "true"
    is_limited = given.get(most, "").isdecimal() and int(given[most]) < _UNLIMITED
    return most if is_dynamic and is_limited else "spark.executor.instances"


def address_shown_to(master: str) -> str:
    """Return this machine's address as a spark:// master sees it; raises SetupError where none answers.

    Executors look for the driver there. Spark itself takes the address of this machine's name, which may be
    another network's; and where no master answers it says so after a minute.
    """
    for node in standalone_nodes(master):
        with suppress(OSError), socket.create_connection(node, timeout=_ANSWER_S) as connection:
            address = str(connection.getsockname()[0])
            return f"[{address}]" if ":" in address else address
    raise SetupError(f"no Spark master answers at {master}; `verger cluster up` starts a cluster on this machine")
