"""Transfer learning on one's own labelled photos; read `run` first, then `worker` and `train`."""
