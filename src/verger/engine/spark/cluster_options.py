"""Spark settings for a cluster, in addition to those for every Spark (`spark_options`).

verger needs the number of cores to partition the photos, but Spark knows this number only after executors start. So
verger uses the first of these values that is set:

1. `spark.default.parallelism` in the caller's settings
2. `spark.cores.max`
3. the number of executors (`spark.dynamicAllocation.maxExecutors` with dynamic allocation, otherwise
   `spark.executor.instances`) times `spark.executor.cores`
4. the cores of the cluster that `verger cluster up` started
5. ASSUMED_CORES

verger passes this number to Spark as `spark.default.parallelism`.
"""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Mapping
from contextlib import suppress

from verger.engine.spark.standalone.state import running_cluster
from verger.errors import SetupError
from verger.settings.spark_master import is_standalone, standalone_nodes

# A number that is too high does little harm: an extra task costs milliseconds, but a core without tasks is idle.
ASSUMED_CORES = 32

# Platforms use a large maximum number of executors to say "no limit" (Dataproc: 10,000).
_UNLIMITED = 1000

_ANSWER_S = 5.0

# Memory in addition to the heap: Spark's minimum for the JVM itself, and the maximum that one Python worker uses.
JVM_MB, WORKER_MB = 384, 600
_IMAGES = ("spark.kubernetes.container.image", "spark.kubernetes.executor.container.image")


def cluster_settings(master: str, given: Mapping[str, str], fast_start: list[str]) -> dict[str, str]:
    """Return the Spark settings for a cluster; raises SetupError.

    given: the caller's settings. fast_start: Java options that make a JVM on this machine start fast.
    """
    settings = {"spark.default.parallelism": str(cluster_cores(master, given))}
    # The user's address of the driver is kept: behind network address translation (NAT) no one else knows it.
    has_driver_host = "spark.driver.host" in given or "SPARK_LOCAL_IP" in os.environ
    if is_standalone(master):
        address = driver_address(master)
        settings |= {} if has_driver_host else {"spark.driver.host": address}
    else:
        settings |= _managed_settings(master, given)
    if own := running_cluster(master):
        # The executors run on this machine and use the same jars, so the same Java options apply.
        settings |= {
            "spark.executor.memory": own.memory,
            "spark.executor.extraJavaOptions": shlex.join(fast_start),
        }
    return settings


def _managed_settings(master: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return the settings for executors in containers; raises SetupError if a required setting is missing."""
    if master == "yarn" and not os.environ.keys() & {"HADOOP_CONF_DIR", "YARN_CONF_DIR"}:
        raise SetupError("master = 'yarn' needs YARN's configuration: set HADOOP_CONF_DIR to its folder")
    if os.environ.keys() & {"SPARK_HOME", "SPARK_CONF_DIR"}:  # the defaults of this Spark installation apply
        return {}
    if master != "yarn" and not any(key in given for key in _IMAGES):
        raise SetupError(f"master = {master!r} needs an image with Spark and verger: --conf {_IMAGES[0]}=IMAGE")
    n_workers = 1
    with suppress(KeyError, ValueError):
        n_workers = max(1, int(given["spark.executor.cores"]))
    # A container that exceeds its memory is killed, and the Python workers need memory in addition to the heap.
    return {"spark.executor.memoryOverhead": f"{JVM_MB + n_workers * WORKER_MB}m"}


def cluster_cores(master: str, given: Mapping[str, str]) -> int:
    """Return the number of cores for which photos are partitioned, by the rule in the module's docstring."""
    for key in ("spark.default.parallelism", "spark.cores.max"):
        with suppress(KeyError, ValueError):
            return max(1, int(given[key]))
    executors = _executors_key(given)
    with suppress(KeyError, ValueError):
        return max(1, int(given[executors])) * max(1, int(given["spark.executor.cores"]))
    own = running_cluster(master)
    return own.n_cores if own else ASSUMED_CORES


def _executors_key(given: Mapping[str, str]) -> str:
    """Return the key of the setting that limits the number of executors."""
    max_executors = "spark.dynamicAllocation.maxExecutors"
    is_dynamic = given.get("spark.dynamicAllocation.enabled", "").lower() == "true"
    is_limited = given.get(max_executors, "").isdecimal() and int(given[max_executors]) < _UNLIMITED
    return max_executors if is_dynamic and is_limited else "spark.executor.instances"


def driver_address(master: str) -> str:
    """Return the address at which executors reach the driver: that of this machine's connection to the master.

    Raises SetupError if no master answers. Spark itself would use the address of this machine's host name, which
    may belong to another network, and would wait a minute for a master that does not answer.
    """
    for node in standalone_nodes(master):
        with suppress(OSError), socket.create_connection(node, timeout=_ANSWER_S) as connection:
            address = str(connection.getsockname()[0])
            return f"[{address}]" if ":" in address else address
    raise SetupError(f"no Spark master answers at {master}; `verger cluster up` starts a cluster on this machine")
