"""Into what the reduction is cut: merges in a tree, and tasks that project. Plans ask it too, without Spark."""

from __future__ import annotations

import math

# So many partial results are merged by one task, and at last by the driver.
FAN_IN = 8

# Of the features' files, which are tasks of the featurization, so many are projected by one task.
FILES_A_TASK = 8


def n_projecting_tasks(n_files: int, n_slots: int) -> int:
    """Return how many tasks project so many files: whole rounds, so that no core idles in the last one."""
    return max(1, min(n_files, n_slots * math.ceil(n_files / (FILES_A_TASK * n_slots))))


def tree_depth(n_parts: int) -> int:
    """Return how often the moments of `n_parts` slots are merged by eights until the driver takes the rest."""
    depth = 0
    while n_parts > FAN_IN:
        n_parts, depth = math.ceil(n_parts / FAN_IN), depth + 1
    return depth
