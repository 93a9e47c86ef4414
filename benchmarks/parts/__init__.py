"""The parts of `make bench`: each takes a Bench and returns the lines of its table."""
