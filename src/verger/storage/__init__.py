"""Files and object stores: paths, tables, manifests, commits, locks, the cache."""
