"""Deployment to AWS EMR, Google Dataproc and Databricks inside the EU: plan, price, run and remove.

This package does not import Spark: `deploy.package` builds the package that clusters install, and the clusters run
`verger run`. The cli uses `registry`, `regions`, `deploy` and `pricing`; only `registry` loads the providers `aws`,
`gcp` and `databricks`.
"""
