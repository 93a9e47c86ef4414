"""Spans: groups depend only on the number of rows, and are read in order."""

from __future__ import annotations

import itertools
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verger.tasks.spans import Span, read_spans, split_into_spans


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(1, 30))
def test_groups_hold_every_row_once_in_order_and_are_equally_long(lengths: list[int], n_rows_each: int) -> None:
    files = [(f"file-{number}", n_rows) for number, n_rows in enumerate(lengths)]
    groups = split_into_spans(files, n_rows_each)
    rows = [(span.file, row) for group in groups for span in group for row in range(span.start, span.stop)]
    assert rows == [(file, row) for file, n_rows in files for row in range(n_rows)]
    assert all(sum(span.n_rows for span in group) == n_rows_each for group in groups[:-1])
    assert all(sum(span.n_rows for span in group) <= n_rows_each for group in groups[-1:])


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int]]:
    """Numbers from 0 in three files of several row groups."""
    folder = tmp_path_factory.mktemp("table")
    files, start = [], 0
    for name, n_rows in (("a", 25), ("b", 1), ("c", 40)):
        numbers = pa.table({"number": list(range(start, start + n_rows)), "other": ["x"] * n_rows})
        pq.write_table(numbers, folder / name, row_group_size=7)
        files.append((str(folder / name), n_rows))
        start += n_rows
    return files


@pytest.mark.parametrize("n_rows_each", [1, 7, 10, 26, 66, 100])
@pytest.mark.parametrize("batch", [1, 5, 64])
def test_spans_are_read_in_order_in_batches_of_one_size(
    table: list[tuple[str, int]], n_rows_each: int, batch: int
) -> None:
    read = []
    for spans in split_into_spans(table, n_rows_each):
        batches = [rows.column(0).to_pylist() for rows in read_spans(spans, ["number"], batch)]
        assert all(len(rows) == batch for rows in batches[:-1])
        read += list(itertools.chain.from_iterable(batches))
    assert read == list(range(66))


def test_of_a_file_only_the_rows_of_the_span_are_read(table: list[tuple[str, int]], tmp_path: Path) -> None:
    (file, _), *_ = table
    (rows,) = read_spans((Span(file, 13, 15),), ["number", "other"], 64)
    assert rows.to_pydict() == {"number": [13, 14], "other": ["x", "x"]}
