"""A Spark standalone cluster of processes on this machine, for trying things out; read `run` first."""

from verger.cluster.run import ClusterOptions, Status, down, status, up
from verger.cluster.state import Cluster, running_cluster

__all__ = ["Cluster", "ClusterOptions", "Status", "down", "running_cluster", "status", "up"]
