from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from verger.pipeline.merge_tree import merge_in_trees
from verger.tasks.base import Attempt
from verger.tasks.moments import Merge


class Recorder:
    """An engine that records merges; a file is represented by the text in it."""

    name, n_slots = "recorder", 1

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.n_calls = 0

    def map(self, task: Any, items: Sequence[Any], shared: Any, on_progress: Any = None) -> list[Any]:
        self.n_calls += 1
        return [task(shared, item, Attempt()) for item in items]

    def check_interrupt(self) -> None:
        """Do nothing."""

    def release(self) -> None:
        """Do nothing."""

    def merge(self, shared: None, item: Merge, attempt: Attempt) -> bool:
        """Join the texts of the files; no file may be written twice."""
        assert len(item.files) <= 8 and item.target not in self.texts
        self.texts[item.target] = "".join(self.texts.get(file, file) for file in item.files)
        return True


@pytest.mark.parametrize("sizes", [(3,), (8, 9), (70, 0, 1), (600, 8, 65)])
def test_each_tree_is_merged_in_order_to_at_most_eight_files(sizes: tuple[int, ...]) -> None:
    engine = Recorder()
    trees = [[f"{number}-{i};" for i in range(size)] for number, size in enumerate(sizes)]
    merged = merge_in_trees(engine, engine.merge, trees, "m")
    assert all(len(files) <= 8 for files in merged)
    for files, tree in zip(merged, trees, strict=True):
        assert "".join(engine.texts.get(file, file) for file in files) == "".join(tree)
    assert engine.n_calls == {3: 0, 9: 1, 70: 2, 600: 3}[max(sizes)]
