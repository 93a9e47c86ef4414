"""Deployment to AWS EMR, Google Dataproc and Databricks inside the EU: planned, priced, run, taken down.

It knows no Spark: what runs on a cluster is `verger run`, brought there by `package`.
"""
