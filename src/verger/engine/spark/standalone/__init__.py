"""A Spark standalone cluster on this machine: `control` implements `verger cluster up`, `down` and `status`.

Spark's own scripts are not used: the pyspark of PyPI has no start-master.sh, and its spark-daemon.sh needs `ps`,
waits seconds for each process and would stop any Java process that has got the pid of an old one.
"""
