"""Deployment to AWS EMR, Google Dataproc and Databricks inside the EU: plan, price, run and remove.

This package imports no Spark: clusters run `verger run`, which `deploy.package` installs on them. The cli uses
`registry`, `regions`, `deploy` and `pricing`; only `registry` loads the providers `aws`, `gcp` and `databricks`.
"""
