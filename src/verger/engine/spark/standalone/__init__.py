"""A Spark standalone cluster of processes on this machine; `control` starts, stops and describes it."""
