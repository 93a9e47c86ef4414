"""The program that spark-submit runs on a cluster: `spark-submit main.py run ...` works like `verger run ...`.

verger uses the Spark session that spark-submit and the cluster's spark-defaults.conf configure. The exit code is
that of `verger` (for example 3 if too many photos were rejected); it determines the state of the step or job.
"""

from __future__ import annotations

from verger.cli import main
from verger.engine.spark.submitted import submitted

with submitted():
    try:
        main()
    except SystemExit as ending:
        if ending.code:  # a Databricks task fails on every SystemExit, also with code 0
            raise
