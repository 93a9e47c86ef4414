"""The "Photos per label" section of the report."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass

import pyarrow.compute as pc

from verger.storage.tables import open_table, read_batches
from verger.storage.uri import AnyPath

ALL_AS_BARS = 40
TOP_AS_BARS = 20
MAX_LISTED = 1000


@dataclass(frozen=True)
class LabelCount:
    """A label (None: unlabelled), its number of photos, and the length of its bar in percent of the longest bar."""

    label: str | None
    n_photos: int
    bar_percent: float


@dataclass(frozen=True)
class LabelCounts:
    """Labels and their counts. bars: drawn as bars. listed: shown in a list; empty if the bars show all labels."""

    n_photos: int
    n_labels: int
    n_unlabelled: int
    range_: tuple[int, float, int] | None  # fewest, median and most photos of a label
    bars: list[LabelCount]
    listed: list[LabelCount]
    n_unlisted: int


def count_labels(result: AnyPath) -> LabelCounts:
    """Count the photos of each label: the most frequent label first, unlabelled photos last.

    Counts the rows of `features`, or of `components` if the result has no `features` (`verger reduce`).
    """
    counts: Counter[str] = Counter()
    n_unlabelled = 0
    tables = [open_table(result, name) for name in ("features", "components")]
    table = next((table for table in tables if table is not None), None)
    for batch in read_batches(table, ["label"]) if table is not None else ():
        for pair in pc.value_counts(batch["label"]).to_pylist():
            if pair["values"] is None:
                n_unlabelled += pair["counts"]
            else:
                counts[pair["values"]] += pair["counts"]
    return _arrange(counts, n_unlabelled)


def _arrange(counts: Counter[str], n_unlabelled: int) -> LabelCounts:
    by_count = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    ranked: list[tuple[str | None, int]] = [*by_count]
    if n_unlabelled:
        ranked.append((None, n_unlabelled))
    longest = max((n for _, n in ranked), default=1)
    rows = [LabelCount(label, n, 100 * n / longest) for label, n in ranked]
    fits = len(rows) <= ALL_AS_BARS
    sizes = sorted(counts.values())
    return LabelCounts(
        n_photos=sum(sizes) + n_unlabelled,
        n_labels=len(sizes),
        n_unlabelled=n_unlabelled,
        range_=(sizes[0], statistics.median(sizes), sizes[-1]) if sizes else None,
        bars=rows if fits else rows[:TOP_AS_BARS],
        listed=[] if fits else rows[:MAX_LISTED],
        n_unlisted=0 if fits else max(0, len(rows) - MAX_LISTED),
    )
