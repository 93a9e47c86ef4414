"""The benchmarks: the photos of the scale test differ, and the simulation follows the rules of the chain."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from benchmarks.lda import write_features
from benchmarks.measure import against
from benchmarks.parts.peers import check_vectors, read_vectors
from benchmarks.run import PARTS, keep
from benchmarks.scale import multiply
from benchmarks.simulate import chart, hours_table, stages_table, usd
from PIL import Image

from tests.support.photos import encode, paint
from verger.cloud.pricing.duration import Workload, hours, stages_s
from verger.kernel.decode import DEFAULT_MAX_PIXELS, decode_rgb
from verger.sources.partitions import Selection, list_photo_files
from verger.tasks.reduction_sizes import tree_depth

DOCS = Path(__file__).parents[1] / "docs"
MAKEFILE = DOCS.parent / "Makefile"


def test_multiplied_photos_show_the_same_in_other_bytes(tmp_path: Path) -> None:
    (tmp_path / "few" / "kiwi").mkdir(parents=True)
    original = encode(paint(20, 20), "JPEG")
    (tmp_path / "few" / "kiwi" / "1.jpg").write_bytes(original)
    multiply(tmp_path / "few", tmp_path / "many", 5)
    copies = [path.read_bytes() for path in sorted((tmp_path / "many" / "kiwi").iterdir())]
    assert len({original, *copies}) == 6
    assert len({len(copy) for copy in copies}) == 5
    for copy in copies:
        np.testing.assert_array_equal(
            decode_rgb(copy, max_pixels=DEFAULT_MAX_PIXELS), decode_rgb(original, max_pixels=DEFAULT_MAX_PIXELS)
        )


def test_the_simulated_tasks_are_those_of_a_listing(tmp_path: Path) -> None:
    for number in range(30):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{number}.jpg")
    n_bytes = (tmp_path / "0.jpg").stat().st_size
    listing = list_photo_files(str(tmp_path), Selection(), tmp_path / "listing", n_slots=2)
    assert listing.n_partitions == Workload(30, 2, photo_bytes=n_bytes).n_tasks == 8


def test_moments_are_merged_by_eights_until_the_driver_takes_the_last() -> None:
    assert [tree_depth(n) for n in (1, 8, 9, 64, 65, 2_000)] == [0, 0, 1, 1, 2, 3]


def test_cores_help_until_the_driver_is_what_is_left() -> None:
    few, many = Workload(10**8, 64), Workload(10**8, 2_000)
    assert hours(few) > hours(many)
    assert stages_s(few)["list"] == pytest.approx(stages_s(many)["list"], rel=0.01), "the driver lists alone"
    packed = replace(many, is_packed=True)
    assert hours(packed) < hours(many)
    assert usd(packed)["GET"] < usd(many)["GET"] / 100


def test_the_plan_in_the_docs_is_what_the_simulation_says() -> None:
    text = (DOCS / "scaling.md").read_text()
    assert hours_table() in text
    assert stages_table() in text
    assert (DOCS / "scaling.svg").read_text() == chart()


def test_a_part_that_is_measured_again_takes_its_place_and_leaves_the_others(tmp_path: Path) -> None:
    results = tmp_path / "results.md"
    for part, table in (("resume", "| 1 |\n"), ("chain", "| 2 |\n"), ("resume", "| 3 |\n")):
        keep(part, table, results)
    assert results.read_text() == "## chain\n\n| 2 |\n\n## resume\n\n| 3 |\n"


def test_every_part_has_its_module_and_is_named_by_make_help() -> None:
    for module, _ in PARTS.values():
        assert find_spec(f"benchmarks.parts.{module}") is not None
    (described,) = [line for line in MAKEFILE.read_text().splitlines() if line.startswith("bench:")]
    assert f"speed: {' '.join(PARTS)};" in described


def test_a_comparison_is_the_median_of_the_ratios_of_each_round() -> None:
    line = against("ours", {"ours": [1.0, 2.0, 1.0], "other": [2.0, 10.0, 3.0]}, "ours", "other", ">= 2")
    assert line.value == "3.00 (2.00 to 5.00): 1.0 s against 3.0 s"


def test_a_peer_whose_vectors_differ_ends_the_benchmark() -> None:
    kiwi, lime, other = np.eye(3, dtype=np.float32)
    ours = {"/kiwi.jpg": kiwi, "/lime.jpg": lime}
    assert check_vectors("daft", dict(reversed(ours.items())), ours) == 1
    with pytest.raises(SystemExit, match="cosine"):
        check_vectors("daft", ours | {"/lime.jpg": (lime + other / 10).astype(np.float32)}, ours)
    with pytest.raises(SystemExit, match="1 in common"):
        check_vectors("daft", {"/kiwi.jpg": kiwi}, ours)


def test_paths_of_all_engines_are_compared_as_plain_ones(tmp_path: Path) -> None:
    paths = ["file:///a/Apple%20Red/1.jpg", "file:/a/2.jpg", "/a/3.jpg"]
    pq.write_table(pa.table({"path": paths, "features": [[1.0, 0.0]] * 3}), tmp_path / "part.parquet")
    assert list(read_vectors(tmp_path)) == ["/a/Apple Red/1.jpg", "/a/2.jpg", "/a/3.jpg"]


def test_synthetic_features_have_labels_in_the_order_of_their_paths(tmp_path: Path) -> None:
    write_features(tmp_path, 250)
    rows = pq.read_table(tmp_path / "features").to_pylist()
    assert len(rows) == 250 and len({row["label"] for row in rows}) == 100
    assert all(row["path"].split("/")[-2] == row["label"] and len(row["features"]) == 1280 for row in rows)
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
