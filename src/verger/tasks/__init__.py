"""Tasks: the functions that run in worker processes, on either engine. `base` explains how to write a new task.

- `featurize`, `pack`: photos to features, photos to shards; `moments`, `project`: fit and apply a PCA; `export`,
  `parity`, `thumbnails`: files and figures for the user.
- `featurize_batches`, `child_decoder`, `time_limit`, `earlier_features`, `shard_rows`: parts of the tasks on
  photos.
- `spans`, `part_files`, `vector_columns`, `reduction_sizes`: how tasks read, write and divide tables.

A task reads its own input, writes its own part of a table and returns a small summary. No task imports pyspark.
"""
