from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from notebooks.execute import NOTEBOOK, clean, execute
from pyspark.sql import SparkSession

from tests.support.chain import manifest_here, table
from verger.sample import SampleOptions, render_sample

# Paths of the machine that ran the notebook: a home, a temporary folder, a path as Spark writes it.
PRIVATE = re.compile(r"/home/|/root/|/tmp/|/Users/|[A-Z]:\\|file:/" + f"|{re.escape(str(Path.home()))}/")


@pytest.fixture(scope="module")
def committed() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(cell: Any) -> list[str]:
    """Return the source and the text outputs of a cell, without pictures."""
    shown = [output.get("text", "") for output in cell.get("outputs", [])]
    data = [output.get("data", {}) for output in cell.get("outputs", [])]
    return [
        cell.source,
        *shown,
        *(text for one in data for kind, text in one.items() if not kind.startswith("image/")),
    ]


def test_the_committed_notebook_is_valid_small_and_executed_from_top_to_bottom(committed: Any) -> None:
    nbformat.validate(committed)
    cells = code_cells(committed)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum("outputs" in cell and bool(cell.outputs) for cell in cells) >= 10
    pictures = [o for cell in cells for o in cell.outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == 3
    assert not [o for cell in cells for o in cell.outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert NOTEBOOK.stat().st_size < 500_000


def test_the_committed_notebook_says_nothing_of_the_machine_that_ran_it(committed: Any) -> None:
    assert not [text for cell in committed.cells for text in texts(cell) if PRIVATE.search(text)]
    assert clean(nbformat.from_dict(committed)) == committed, "make notebook leaves nothing to clean"


def test_papermill_finds_the_settings(committed: Any) -> None:
    (settings,) = [cell for cell in committed.cells if "parameters" in cell.metadata.get("tags", [])]
    names: dict[str, object] = {}
    exec(settings.source, names)
    assert {"SRC", "OUT", "MASTER", "MODEL", "LIMIT"} <= set(names)


def test_the_links_lead_somewhere(committed: Any) -> None:
    for cell in committed.cells:
        for target in re.findall(r"\]\(([\w./-]+)\)", cell.source):
            assert (NOTEBOOK.parent / target).exists(), target


@pytest.fixture(scope="module")
def few_photos(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Real photos if they are available, otherwise renders; and a broken photo."""
    folder = tmp_path_factory.mktemp("few") / "photos"
    real = Path(__file__).parents[2] / "shared" / "data" / "sample"
    if real.is_dir():
        for label in sorted(path for path in real.iterdir() if path.is_dir())[:6]:
            (folder / label.name).mkdir(parents=True)
            for photo in sorted(label.glob("*.jpg"))[:5]:
                shutil.copy(photo, folder / label.name)
    else:
        render_sample(folder, SampleOptions(per_kind=4))
    whole = next(folder.rglob("*.jpg"))
    (whole.parent / "half.jpg").write_bytes(whole.read_bytes()[:700])
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_it_runs_and_gives_what_verger_run_gives(
    few_photos: Path, tmp_path: Path, committed: Any, spark: SparkSession
) -> None:
    execute(
        tmp_path / "executed.ipynb", tmp_path, SRC=str(few_photos), OUT="out", MASTER="local[2]", MODEL="fruitnet"
    )
    executed = nbformat.read(tmp_path / "executed.ipynb", as_version=4)
    ran = [
        cell.source for cell in code_cells(executed) if "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    assert ran == [cell.source for cell in code_cells(committed)]

    manifest = manifest_here("run", few_photos, "run", "--model", "fruitnet", "--variance", "0.9", cwd=tmp_path)
    assert manifest["counts"]["rejected_by_reason"] == {"truncated": 1}
    for name in ("features", "rejected"):
        ours, theirs = table(tmp_path / "out" / name), table(tmp_path / "run" / name)
        assert ours.to_pydict() == theirs.to_pydict(), name
    ours, theirs = (table(tmp_path / out / "components") for out in ("out", "run"))
    assert ours["path"] == theirs["path"] and len(ours["components"][0]) == manifest["reduction"]["n_components"]
    vectors = [np.array(one["components"].to_pylist()) for one in (ours, theirs)]
    assert vectors[0] == pytest.approx(vectors[1], abs=1e-4)

    (csv,) = (tmp_path / "out" / "components.csv").glob("*.csv")
    spread = pd.read_csv(csv).sort_values("path").filter(like="pc_").to_numpy()
    assert spread == pytest.approx(vectors[0], abs=1e-4)
    assert pq.read_table(tmp_path / "out" / "rejected")["reason"].to_pylist() == ["truncated"]
