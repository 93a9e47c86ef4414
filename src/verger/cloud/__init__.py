"""Deployment to AWS EMR, Google Dataproc and Databricks inside the EU: plan, price, run, take down.

It imports no Spark: clusters run `verger run`, which `deploy.package` installs there. The cli uses `registry`,
`regions`, `deploy` and `pricing`; the providers `aws`, `gcp` and `databricks` are loaded only by `registry`.
"""
