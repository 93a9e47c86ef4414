"""The small pictures: scree, times, rejections, details and words."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import verger
from verger.errors import Reason
from verger.report.details import list_details
from verger.report.rejections import MAX_EXAMPLES, MEANINGS, count_rejections
from verger.report.scree import draw_scree
from verger.report.spectrum import Spectrum
from verger.report.timings import WHAT_STAGES_DO, read_timings
from verger.report.wording import (
    format_bytes,
    format_count,
    format_duration,
    format_rate,
    format_share,
    format_time,
)
from verger.storage.manifest import Manifest


def make_spectrum(n: int) -> Spectrum:
    ratios = np.linspace(n, 1, n)
    ratios /= ratios.sum()
    return Spectrum(np.arange(1.0, n + 1), ratios, ratios.cumsum())


def test_long_curves_are_thinned_but_keep_k() -> None:
    scree = draw_scree(make_spectrum(5000), Manifest.model_validate({"reduction": {"n_components": 3977}}))
    drawn = scree.curve["component"]
    assert isinstance(drawn, list)
    assert len(drawn) <= 401
    assert {1, 2, 3, 3977, 5000} <= set(drawn)
    assert scree.curve["log"] is True
    assert scree.n_components == 5000


def test_short_curves_are_whole() -> None:
    scree = draw_scree(make_spectrum(3), Manifest())
    assert scree.curve["component"] == [1, 2, 3]
    assert scree.curve["percent"] == [50.0, 33.33, 16.67]
    assert (scree.k, scree.kept, scree.curve["log"]) == (None, None, False)
    assert scree.levels == [("50%", "1"), ("80%", "2"), ("90%", "3"), ("95%", "3"), ("99%", "3")]


@pytest.mark.parametrize("k", [0, 4, "3", True, float("nan")])
def test_a_k_that_cannot_be_is_not_marked(k: object) -> None:
    assert draw_scree(make_spectrum(3), Manifest.model_validate({"reduction": {"n_components": k}})).k is None


def test_time_that_no_stage_counts_is_other() -> None:
    timings = read_timings(Manifest.model_validate({"timings_s": {"start": 2.0, "featurize": 6, "total": 10.0}}))
    assert timings is not None
    assert [(stage.name, stage.share) for stage in timings.stages] == [
        ("start", "20.0%"),
        ("featurize", "60.0%"),
        ("other", "20.0%"),
    ]
    assert timings.total == "10.0 s"


def test_every_stage_of_the_chain_is_described() -> None:
    stages = {
        stage
        for file in (Path(verger.__file__).parent / "pipeline").glob("*.py")
        for stage in re.findall(r'timed\("(\w+)"\)', file.read_text())
    }
    assert stages - WHAT_STAGES_DO.keys() == {"pack"}  # a packed folder has no report


def test_stages_that_overlap_still_fill_one_bar() -> None:
    timings = read_timings(Manifest.model_validate({"timings_s": {"start": 6.0, "list": 6.0, "total": 8.0}}))
    assert timings is not None
    assert sum(stage.bar_percent for stage in timings.stages) == pytest.approx(100)


@pytest.mark.parametrize("times", [{}, {"total": 0}])
def test_no_timings(times: object) -> None:
    assert read_timings(Manifest.model_validate({"timings_s": times})) is None


def test_every_reason_is_explained() -> None:
    assert set(MEANINGS) == set(Reason)


def test_examples_show_every_reason(tmp_path: Path) -> None:
    reasons = ["truncated"] * 200 + ["corrupt"] * 3 + [None]
    table = pa.table(
        {
            "path": [f"file:/{i:04}" for i in reversed(range(len(reasons)))],
            "length": pa.array([None] * len(reasons), pa.int64()),
            "reason": pa.array(reasons, pa.string()),
            "detail": pa.array([None] * len(reasons), pa.string()),
        }
    )
    (tmp_path / "rejected").mkdir()
    pq.write_table(table, tmp_path / "rejected" / "part.parquet")
    found = count_rejections(tmp_path)
    assert found is not None
    assert [(row.reason, row.n_photos) for row in found.reasons] == [
        ("truncated", 200),
        ("corrupt", 3),
        ("unknown", 1),
    ]
    assert len(found.examples) == MAX_EXAMPLES
    assert [example.reason for example in found.examples].count("corrupt") == 3
    assert found.examples[0].path == "file:/0004"


def test_details_hold_the_whole_manifest() -> None:
    facts = {"verger": "0.1.0", "new": {"x": [1, None]}, "settings": {"a": {"b": True}}, "parity": None}
    sections = list_details(Manifest.model_validate(facts))
    assert [(section.title, section.rows) for section in sections] == [
        ("This result", [("verger", "0.1.0"), ("parity", "none")]),
        ("Settings", [("a.b", "yes")]),
        ("new", [("x", "1, none")]),
    ]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (format_count(1234567), "1,234,567"),
        (format_share(0.9004), "90.0%"),
        (format_share(0.99999), ">99.9%"),
        (format_share(1.0), "100.0%"),
        (format_share(0.0), "0.0%"),
        (format_share(0.0001), "<0.1%"),
        (format_duration(0.123), "0.12 s"),
        (format_duration(8.44), "8.4 s"),
        (format_duration(65), "1 min 05 s"),
        (format_duration(59.97), "1 min 00 s"),
        (format_duration(3599.7), "1 h 00 min"),
        (format_duration(7620), "2 h 07 min"),
        (format_rate(9.54), "9.5"),
        (format_rate(1234.5), "1,234"),
        (format_bytes(0), "0 bytes"),
        (format_bytes(1), "1 byte"),
        (format_bytes(4096), "4.1 kB"),
        (format_bytes(12_345_678), "12.3 MB"),
        (format_bytes(7e12), "7,000.0 GB"),
        (format_time("2026-03-12T14:05:22+00:00"), "2026-03-12 14:05 UTC"),
        (format_time("yesterday"), "yesterday"),
    ],
)
def test_numbers_are_said_to_people(said: str, expected: str) -> None:
    assert said == expected
