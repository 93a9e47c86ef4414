"""The Spark engine: the same tasks on a Spark master, and the sessions, Java and settings that it needs."""
