from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.thumbnails import thumbnails_here
from verger.report.scatter import MAX_AXES, MapSample, draw_scatter, sample_points
from verger.report.spectrum import Spectrum
from verger.storage.tables import Table, open_table


def write_components(folder: Path, values: npt.NDArray[np.float32], *, n_files: int = 1) -> Table:
    folder.mkdir(parents=True)
    for part, rows in enumerate(np.array_split(np.arange(len(values)), n_files)):
        table = pa.table(
            {
                "path": [f"file:/photos/{i % 3}/{i}.jpg" for i in rows],
                "label": pa.array([f"fruit {i % 3}" for i in rows], pa.string()),
                "components": pa.array([values[i] for i in rows], pa.list_(pa.float32())),
            }
        )
        pq.write_table(table, folder / f"part-{part}.parquet")
    written = open_table(folder.parent, folder.name)
    assert written is not None
    return written


def take(table: Table, limit: int) -> MapSample:
    sample = sample_points(table, limit)
    assert sample is not None
    return sample


def numbered(n: int, k: int) -> npt.NDArray[np.float32]:
    return np.arange(n * k, dtype=np.float32).reshape(n, k)


def test_sample_is_the_same_however_the_files_are_cut(tmp_path: Path) -> None:
    values = numbered(200, 6)
    one = take(write_components(tmp_path / "one", values), 30)
    many = take(write_components(tmp_path / "many", values[::1], n_files=7), 30)
    assert one.paths == many.paths
    assert len(set(one.paths)) == 30
    assert one.n_photos == many.n_photos == 200
    np.testing.assert_array_equal(one.axes, many.axes)


def test_a_sample_of_a_table_of_many_batches_is_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write_components(tmp_path / "c", numbered(200, 2), n_files=3)
    whole = take(table, 15).paths
    monkeypatch.setattr("verger.storage.tables._ROWS_PER_BATCH", 7)
    assert take(table, 15).paths == whole


def test_smaller_samples_are_part_of_larger_ones(tmp_path: Path) -> None:
    table = write_components(tmp_path / "c", numbered(100, 2))
    assert take(table, 40).paths[:15] == take(table, 15).paths


def test_points_stay_with_their_photos(tmp_path: Path) -> None:
    sample = take(write_components(tmp_path / "c", numbered(50, 6), n_files=3), 50)
    rows = [int(path.split("/")[-1].removesuffix(".jpg")) for path in sample.paths]
    np.testing.assert_array_equal(sample.axes, numbered(50, 6)[rows, :MAX_AXES])
    assert sample.labels == [f"fruit {i % 3}" for i in rows]
    assert sample.k == 6


@pytest.mark.parametrize("k", [1, 2, 3])
def test_fewer_components_than_axes(tmp_path: Path, k: int) -> None:
    sample = take(write_components(tmp_path / "c", numbered(5, k)), 10)
    assert sample.axes.shape == (5, k)


def test_no_photos(tmp_path: Path) -> None:
    assert sample_points(write_components(tmp_path / "c", numbered(0, 2)), 10) is None


def test_broken_numbers_are_left_open(tmp_path: Path) -> None:
    write_components(tmp_path / "components", np.array([[np.nan, np.inf]], np.float32))
    scatter = draw_scatter(tmp_path, None, thumbnails_here)
    assert scatter is not None
    assert scatter.points["values"] == [[None], [None]]
    assert scatter.points["name"] == ["0.jpg"]


def test_axes_show_their_variance(tmp_path: Path) -> None:
    write_components(tmp_path / "components", numbered(4, 2))
    spectrum = Spectrum(np.array([1.0, 2.0]), np.array([0.75, 0.0001]), np.array([0.75, 0.7501]))
    scatter = draw_scatter(tmp_path, spectrum, thumbnails_here)
    assert scatter is not None
    assert scatter.axes == ["PC1 (75.0% of the variance)", "PC2 (<0.1% of the variance)"]
