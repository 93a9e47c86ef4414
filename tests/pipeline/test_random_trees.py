"""Runs on random trees of files: they end, and summary, exit code and tables agree."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from typer.testing import CliRunner

from tests.support.trees import Item, items, make, stems, usable
from verger.cli import app
from verger.errors import SourceError

EXIT_ERROR, EXIT_REJECTED = 1, 3


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=items, name=stems.filter(usable))
def test_a_run_on_any_tree_ends_and_its_figures_agree(
    tmp_path: Path, tiny_model: str, items: list[Item], name: str
) -> None:
    place = tmp_path / "case"
    shutil.rmtree(place, ignore_errors=True)
    (place / name / "photos").mkdir(parents=True)
    make(place / name / "photos", items)

    words = ["features", "photos", "out", "--model", tiny_model, "--max-rejected", "40%", "--json"]
    with contextlib.chdir(place / name):
        done = CliRunner().invoke(app, [*words, "--engine", "local"])

    if done.exit_code == EXIT_ERROR:
        assert isinstance(done.exception, SourceError) and "no photos in" in str(done.exception)
        assert not (place / name / "out").exists()
        return
    counts = json.loads(done.stdout)["counts"]
    out = place / name / "out"
    rejected = rows(out / "rejected")
    assert counts["listed"] == counts["features"] + counts["rejected"]
    assert (counts["features"], counts["rejected"]) == (len(rows(out / "features")), len(rejected))
    assert Counter(row["reason"] for row in rejected) == counts["rejected_by_reason"]
    assert done.exit_code == (EXIT_REJECTED if counts["rejected"] > 0.4 * counts["listed"] else 0)


def rows(folder: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for file in sorted(folder.glob("*.parquet"), key=os.fsencode):
        with file.open("rb") as opened:
            found += pq.read_table(opened).to_pylist()
    return found
