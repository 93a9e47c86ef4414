"""Part files of tables hold only the rows of the last attempt at a task."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.photos import encode, paint
from verger.kernel.decode import DEFAULT_MAX_PIXELS
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.network import prepare_network
from verger.storage.atomic import write_atomically
from verger.storage.schemas import REJECTED
from verger.tasks.base import Attempt
from verger.tasks.featurize import FeaturizeJob, featurize_rows
from verger.tasks.part_files import open_part

ROW = pa.RecordBatch.from_pylist([{"path": "a", "length": 1, "reason": "empty", "detail": ""}], schema=REJECTED)


def test_a_part_without_rows_is_no_file_and_removes_an_earlier_one(tmp_path: Path) -> None:
    target = tmp_path / "rejected" / "part.parquet"
    with open_part(target, REJECTED):
        pass
    assert not target.exists()
    with open_part(target, REJECTED) as part:
        part.write(ROW)
    assert pq.read_table(target).num_rows == 1
    with open_part(target, REJECTED) as part:
        pass
    assert list(target.parent.iterdir()) == [] and part.name is None


def test_a_retry_that_rejects_nothing_leaves_nothing_of_the_first_attempt(tmp_path: Path) -> None:
    """`rejected` is put in place before `features`, which may then fail."""
    network = prepare_network(NetworkSpec("fruitnet"))
    features, rejected = tmp_path / "features", tmp_path / "rejected"
    job = FeaturizeJob(network, str(features), str(rejected), "run", DEFAULT_MAX_PIXELS, photo_timeout_s=60)
    good = encode(paint(30, 20), "PNG")

    def rows(contents: list[bytes]) -> tuple[int, list[pa.RecordBatch]]:
        columns = {"path": ["a", "b"], "length": [1, 1], "label": ["x", "x"], "content": contents}
        return 0, [pa.RecordBatch.from_pydict(columns)]

    blocked = features / "part-000000-run.parquet"
    (blocked / "file").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        featurize_rows(job, rows([good, b""]), Attempt(0))
    assert [path.name for path in rejected.iterdir()] == [blocked.name]

    (blocked / "file").rmdir()
    blocked.rmdir()
    done = featurize_rows(job, rows([good, good]), Attempt(1))
    assert (done.n_features, done.n_rejected) == (2, 0)
    assert [path.name for path in features.iterdir()] == [blocked.name]
    assert list(rejected.iterdir()) == []


def test_two_writers_of_the_same_file_do_not_write_into_each_other(tmp_path: Path) -> None:
    """A process that is thought dead, and its successor in another container, may have the same pid."""
    with write_atomically(tmp_path / "part") as one:
        with write_atomically(tmp_path / "part") as other:
            other.write_text("other")
            one.write_text("one")
        assert (tmp_path / "part").read_text() == "other"
    assert (tmp_path / "part").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["part"]
