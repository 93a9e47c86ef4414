"""Merge many files of partial sums by tasks, in trees of a fixed shape."""

from __future__ import annotations

from collections.abc import Sequence

from verger.engine.base import Engine
from verger.tasks.base import Task
from verger.tasks.moments import Merge
from verger.tasks.reduction_sizes import FAN_IN


def merge_in_trees(
    engine: Engine, merge: Task[None, Merge, bool], trees: Sequence[list[str]], prefix: str
) -> list[list[str]]:
    """Merge the files of each tree, FAN_IN at a time, until it has at most FAN_IN files; return these in order.

    The trees are independent sums; one call of `Engine.map` merges a level of all of them. prefix: the beginning of
    the paths of the merged files.
    """
    current = [list(files) for files in trees]
    level = 0
    while any(len(files) > FAN_IN for files in current):
        level += 1
        merges: list[Merge] = []
        for number, files in enumerate(current):
            if len(files) <= FAN_IN:
                continue
            first = len(merges)
            for start in range(0, len(files), FAN_IN):
                merges.append(Merge(tuple(files[start : start + FAN_IN]), f"{prefix}-{level}-{len(merges):06d}"))
            current[number] = [item.target for item in merges[first:]]
        engine.map(merge, merges, None)
    return current
