"""Tasks: what runs inside a worker process, on either engine.

Each is a plain function of (shared state, item, attempt) that reads its own input, writes its own part of a table
and returns a small summary. None imports pyspark.
"""
