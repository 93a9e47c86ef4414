"""What spark-submit runs on a cluster: `spark-submit main.py run SRC OUT ...` is `verger run SRC OUT ...` there.

Spark is as spark-submit and the cluster's spark-defaults.conf say, and verger borrows it. The exit code is verger's
own, and with it the state of the step or job: 3, say, where too many photos were rejected.
"""

from __future__ import annotations

from verger.cli import main
from verger.engine.spark.submitted import submitted

with submitted():
    try:
        main()
    except SystemExit as ending:
        if ending.code:  # a task of Databricks fails by any exit, that of 0 too
            raise
