"""A Spark standalone cluster on this machine: `control` implements `verger cluster up`, `down` and `status`.

Spark's own scripts are not used: the pyspark of PyPI has no start-master.sh. Its spark-daemon.sh needs `ps`, waits
seconds for each process, and stops any Java process that has the pid of an earlier daemon.
"""
