"""The Spark engine: the same tasks on a Spark master.

`engine` runs tasks in a `session.ManagedSession`. `jvm`, `connect` and `java` start Spark. `spark_options` and
`cluster_options` contain Spark's settings. `submitted` adds settings if spark-submit starts the driver. `hadoop`
reads photos that only Spark can read. `standalone` is the cluster of `verger cluster`.
"""
