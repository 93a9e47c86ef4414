"""Child processes, signals and progress reports."""
