"""A run that resumes computes what is new, and its result is that of a run on everything."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.support.chain import beside, contents, files, manifest_here, table, verger
from tests.support.networks import save_tiny_onnx
from verger.cli import app
from verger.errors import (
    JobError,
    ReductionError,
    ResultError,
    SettingsError,
    SetupError,
    StorageError,
)
from verger.kernel.decode import DECODER_VERSION
from verger.kernel.moments import Moments
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.network import prepare_network
from verger.pipeline.context import CAN_RESUME, open_run
from verger.process.progress import SilentProgress
from verger.settings import load_settings

N_FEATURES, N_REJECTED = 12, 3


@pytest.fixture
def source(photos: Path, tmp_path: Path) -> Path:
    """Twelve photos and three that are broken, to be changed."""
    return Path(shutil.copytree(photos, tmp_path / "photos"))


@pytest.fixture
def network(tiny_model: str) -> tuple[str, ...]:
    return ("--model", tiny_model)


@pytest.fixture
def first(source: Path, network: tuple[str, ...]) -> dict[str, Any]:
    """An earlier run's manifest; its result is `out`."""
    return run(source, network)


def run(source: Path, network: tuple[str, ...], *more: str, out: str = "out") -> dict[str, Any]:
    return manifest_here("run", source, out, *network, "--components", 2, "--no-report", *more, cwd=source.parent)


def resume(source: Path, network: tuple[str, ...], *more: str) -> tuple[int, int, int]:
    """Resume, and return how many were computed, reused, and rejected."""
    counts = run(source, network, "--resume", *more)["counts"]
    assert counts["listed"] == counts["features"] + counts["rejected"]
    return counts["computed"], counts["reused"], counts["rejected"]


def check_equals_run_on_everything(source: Path, network: tuple[str, ...]) -> None:
    """Compare `out` with the result of a run that knows nothing of earlier ones."""
    run(source, network, out="anew")
    out, anew = source.parent / "out", source.parent / "anew"
    for name in ("features", "rejected"):
        assert table(out / name).equals(table(anew / name)), name
    ours, theirs = (table(folder / "components")["components"].to_pylist() for folder in (out, anew))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    ours, theirs = (Moments.from_bytes((folder / "model" / "state.npz").read_bytes()) for folder in (out, anew))
    assert ours.n == theirs.n
    np.testing.assert_allclose(ours.m2, theirs.m2, rtol=1e-9)


def paint(path: Path, seed: int) -> None:
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 200, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def paths(source: Path) -> set[str]:
    return {Path(path).name for path in table(source.parent / "out" / "features")["path"].to_pylist()}


def test_where_nothing_is_new_nothing_is_computed(
    source: Path, network: tuple[str, ...], first: dict[str, Any]
) -> None:
    assert first["counts"]["features"] == N_FEATURES
    assert resume(source, network) == (0, N_FEATURES, N_REJECTED)
    check_equals_run_on_everything(source, network)


def test_where_nothing_is_left_to_do_at_all_the_result_is_the_same(source: Path, network: tuple[str, ...]) -> None:
    for broken in ("pear/empty.jpg", "pear/words.jpeg", "kiwi/half.png"):  # those are tried again each time
        (source / broken).unlink()
    run(source, network)
    assert resume(source, network) == (0, N_FEATURES, 0)
    check_equals_run_on_everything(source, network)


@pytest.mark.usefixtures("first")
def test_only_new_photos_are_computed_and_folded_into_the_pca(
    source: Path, network: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(source / "apple" / "new.png", 1)
    paint(source / "quince" / "new.png", 2)
    merged: list[int] = []
    merge = Moments.merge

    def watched(one: Moments, other: Moments) -> Moments:
        merged.append(other.n)
        return merge(one, other)

    monkeypatch.setattr(Moments, "merge", watched)
    before = files(source.parent / "out" / "features").items()
    assert resume(source, network) == (2, N_FEATURES, N_REJECTED)
    kept = before & files(source.parent / "out" / "features").items()
    assert kept >= {(name, rows) for name, rows in before if name.startswith("part-")}, "old files stay as they are"
    assert sum(merged) <= 2 + 1, "the old vectors were not looked at again"
    check_equals_run_on_everything(source, network)


@pytest.mark.slow
@pytest.mark.usefixtures("first")
def test_a_changed_photo_replaces_the_old_one(source: Path, network: tuple[str, ...]) -> None:
    paint(source / "pear" / "1.png", 3)
    assert resume(source, network) == (1, N_FEATURES - 1, N_REJECTED)
    check_equals_run_on_everything(source, network)


@pytest.mark.slow
@pytest.mark.usefixtures("first")
def test_labels_are_those_of_the_latest_rule(source: Path, network: tuple[str, ...]) -> None:
    assert resume(source, network, "--label", "none") == (0, N_FEATURES, N_REJECTED)
    assert set(table(source.parent / "out" / "features")["label"].to_pylist()) == {None}
    assert set(table(source.parent / "out" / "components")["label"].to_pylist()) == {None}


@pytest.mark.slow
@pytest.mark.usefixtures("first")
def test_a_photo_whose_time_alone_has_changed_is_known_by_its_content(
    source: Path, network: tuple[str, ...]
) -> None:
    for path in source.rglob("*.png"):
        os.utime(path, (1e9, 1e9))
    assert resume(source, network) == (0, N_FEATURES, N_REJECTED)
    check_equals_run_on_everything(source, network)


@pytest.mark.slow
@pytest.mark.usefixtures("first")
def test_a_photo_that_moved_is_not_computed_again(source: Path, network: tuple[str, ...]) -> None:
    (source / "apple").rename(source / "malus")
    assert resume(source, network, "--prune") == (0, N_FEATURES, N_REJECTED)
    check_equals_run_on_everything(source, network)


@pytest.mark.usefixtures("first")
def test_photos_that_are_gone_stay_until_they_are_pruned(source: Path, network: tuple[str, ...]) -> None:
    (source / "apple" / "3.png").unlink()
    (source / "kiwi" / "half.png").unlink()
    before = table(source.parent / "out" / "features")
    assert resume(source, network) == (0, N_FEATURES, N_REJECTED - 1)
    assert table(source.parent / "out" / "features").equals(before)
    assert resume(source, network) == (0, N_FEATURES, N_REJECTED - 1), "they are known to the next run too"
    assert resume(source, network, "--prune") == (0, N_FEATURES - 1, N_REJECTED - 1)
    assert json.loads((source.parent / "out" / "manifest.json").read_text())["counts"]["gone"] == 1
    check_equals_run_on_everything(source, network)


@pytest.mark.slow
@pytest.mark.usefixtures("first")
def test_what_was_rejected_is_tried_again(source: Path, network: tuple[str, ...]) -> None:
    paint(source / "kiwi" / "half.png", 4)
    assert resume(source, network) == (1, N_FEATURES, N_REJECTED - 1)
    check_equals_run_on_everything(source, network)


@pytest.mark.usefixtures("first")
def test_features_made_with_other_settings_are_not_replaced_unasked(
    source: Path, network: tuple[str, ...], tmp_path: Path
) -> None:
    """Of a photo that is gone they could not be computed again."""
    (source / "apple" / "3.png").unlink()
    save_tiny_onnx(tmp_path / "other.onnx", size_px=16)
    before = files(source.parent / "out")
    for other, difference in (
        ((*network, "--max-megapixels", "40"), "max_megapixels = 50.0 then, 40.0 now"),
        ((*network, "--decode", "scaled"), "decode = exact then, scaled now"),
        ((*network, "--views", "crops"), "views = whole then, crops now"),
        (("--model", str(tmp_path / "other.onnx")), "model = .*tiny.onnx then, .*other.onnx now"),
    ):
        with pytest.raises(ResultError, match=rf"12 features .*\({difference}\).*--overwrite"):
            resume(source, other)
        assert files(source.parent / "out") == before and beside(source.parent / "out") == []


@pytest.mark.usefixtures("first")
def test_features_of_an_earlier_decoder_are_not_mixed_with_new_ones(
    source: Path, network: tuple[str, ...], tiny_model: str
) -> None:
    manifest = source.parent / "out" / "manifest.json"
    content = json.loads(manifest.read_text())
    assert content["network"].pop("decoder") == DECODER_VERSION
    key = prepare_network(NetworkSpec(tiny_model)).key
    before = hashlib.sha256(f"{key} {load_settings().max_pixels}".encode()).hexdigest()[:32]
    content["network"]["fingerprint"] = before
    content["network"]["spec"]["views"] = 1  # the earlier name of `whole`
    manifest.write_text(json.dumps(content))
    with pytest.raises(ResultError, match=rf"\(decoder = 1 then, {DECODER_VERSION} now\).*--overwrite"):
        resume(source, network)
    assert resume(source, network, "--overwrite") == (N_FEATURES, 0, N_REJECTED)
    assert resume(source, network) == (0, N_FEATURES, N_REJECTED)


def test_photos_that_are_gone_have_labels_in_one_form(source: Path, network: tuple[str, ...]) -> None:
    nfc, nfd = (unicodedata.normalize(form, "p\u00eache") for form in ("NFC", "NFD"))
    (source / "apple").rename(source / nfd)
    n_photos = len(list((source / nfd).iterdir()))
    run(source, network)
    for name in ("features", "listing"):  # as an earlier version wrote them
        for file in (source.parent / "out" / name).glob("*.parquet"):
            rows = table(file)
            labels = [nfd if label == nfc else label for label in rows["label"].to_pylist()]
            assert rows.schema.field("label").type == pa.string()
            position = rows.schema.get_field_index("label")
            pq.write_table(rows.set_column(position, rows.schema.field(position), pa.array(labels)), file)
    (source / nfd / "3.png").unlink()
    assert resume(source, network) == (0, N_FEATURES, N_REJECTED)
    labels = table(source.parent / "out" / "features")["label"].to_pylist()
    assert labels.count(nfc) == n_photos and nfd not in labels


def test_features_of_weights_with_another_content_are_not_replaced_unasked(source: Path, tmp_path: Path) -> None:
    save_tiny_onnx(tmp_path / "own.onnx")
    run(source, ("--model", str(tmp_path / "own.onnx")))
    save_tiny_onnx(tmp_path / "own.onnx", size_px=16)
    with pytest.raises(ResultError, match=r"weights_sha256 = \w+ then, \w+ now"):
        resume(source, ("--model", str(tmp_path / "own.onnx")))


@pytest.mark.slow
@pytest.mark.usefixtures("first")
def test_another_network_or_limit_computes_everything_with_overwrite(
    source: Path, network: tuple[str, ...], tmp_path: Path
) -> None:
    save_tiny_onnx(tmp_path / "other.onnx", size_px=16)
    other = ("--model", str(tmp_path / "other.onnx"))
    assert resume(source, other, "--overwrite") == (N_FEATURES, 0, N_REJECTED)
    limit = ("--max-megapixels", "0.0001")
    assert resume(source, network, *limit, "--overwrite") == (0, 0, N_FEATURES + N_REJECTED)
    assert resume(source, network) == (N_FEATURES, 0, N_REJECTED), "there were no features to lose"


@pytest.mark.usefixtures("first")
def test_a_result_of_another_command_is_not_replaced_unasked(source: Path, network: tuple[str, ...]) -> None:
    manifest_here("pack", source, "packed", cwd=source.parent)
    before = files(source.parent / "packed")
    with pytest.raises(ResultError, match=r"packed holds a result of `verger pack`.*--overwrite"):
        run(source, network, "--resume", out="packed")
    assert files(source.parent / "packed") == before and beside(source.parent / "packed") == []
    run(source, network, "--resume", "--overwrite", out="packed")
    assert not (source.parent / "packed" / "images").exists()


@pytest.mark.slow
def test_without_an_earlier_run_it_is_a_run(source: Path, network: tuple[str, ...]) -> None:
    assert resume(source, network) == (N_FEATURES, 0, N_REJECTED)
    assert beside(source.parent / "out") == []


def fail_before_reduction(source: Path, network: tuple[str, ...], *more: str) -> str:
    """A run that does everything but the last steps; return what it says."""

    def fail(*_: object) -> None:
        raise ReductionError("disturbed")

    words = ["run", str(source), str(source.parent / "out"), *network, "--components", "2", "--no-report", *more]
    words += ["--engine", "local"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("verger.pipeline.reduce.reduce_features", fail)
        done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, ReductionError)
    return done.stderr


def test_a_disturbed_run_costs_the_unfinished_tasks_and_the_result_is_the_same_to_the_byte(
    source: Path, network: tuple[str, ...]
) -> None:
    assert "--resume" in fail_before_reduction(source, network)
    assert beside(source.parent / "out") == [".out.verger-staging"]
    done = sorted((source.parent / ".out.verger-staging").glob("run-*/features/*.parquet"))
    assert len(done) >= 6
    n_lost = sum(table(path)["features"].is_valid().to_pylist().count(True) for path in done[::2])
    for path in done[::2]:
        path.unlink()
    assert 0 < n_lost < N_FEATURES
    assert resume(source, network) == (n_lost, N_FEATURES - n_lost, N_REJECTED)
    assert beside(source.parent / "out") == []
    run(source, network, out="anew")
    for name in ("features", "rejected", "components"):
        assert contents(source.parent / "out" / name) == contents(source.parent / "anew" / name), name


@pytest.mark.slow
def test_what_a_disturbed_increment_has_done_is_not_lost_and_not_counted_twice(
    source: Path, network: tuple[str, ...], first: dict[str, Any]
) -> None:
    paint(source / "apple" / "new.png", 1)
    fail_before_reduction(source, network, "--resume")
    assert table(source.parent / "out" / "features").num_rows == first["counts"]["features"]
    paint(source / "apple" / "newer.png", 2)
    assert resume(source, network) == (1, N_FEATURES + 1, N_REJECTED)
    check_equals_run_on_everything(source, network)


@pytest.mark.slow
@pytest.mark.parametrize("has_earlier", [False, True])
def test_a_disturbed_run_is_no_obstacle_to_other_settings(
    source: Path, network: tuple[str, ...], has_earlier: bool
) -> None:
    other = (*network, "--max-megapixels", "40")
    if has_earlier:
        run(source, network)
        fail_before_reduction(source, other, "--overwrite")
        assert resume(source, other, "--overwrite") == (0, N_FEATURES, N_REJECTED), "what was done is kept"
    else:
        fail_before_reduction(source, network)
        assert resume(source, other) == (N_FEATURES, 0, N_REJECTED)
    assert beside(source.parent / "out") == []


@pytest.mark.slow
def test_a_run_that_does_not_resume_begins_anew(source: Path, network: tuple[str, ...]) -> None:
    fail_before_reduction(source, network)
    assert "computed" not in run(source, network)["counts"]
    assert beside(source.parent / "out") == []


@pytest.mark.slow
def test_packed_photos_are_known_as_loose_ones_are(source: Path, network: tuple[str, ...]) -> None:
    run(source, network)
    paint(source / "apple" / "new.png", 1)
    manifest_here("pack", source, "packed", cwd=source.parent)
    packed = source.parent / "packed"
    (source / "apple" / "new.png").unlink()  # packed photos are known as loose ones are, by path, time and size
    assert resume(packed, network) == (1, N_FEATURES, N_REJECTED)
    paint(source / "apple" / "new.png", 1)
    check_equals_run_on_everything(source, network)


def table_of_two(out: Path) -> tuple[Path, Path]:
    """Return two photos whose features are in the same file."""
    tables = (table(file)["path"].to_pylist() for file in sorted((out / "features").glob("*.parquet")))
    one, other, *_ = next(paths for paths in tables if len(paths) > 1)
    return Path(one.removeprefix("file:")), Path(other.removeprefix("file:"))


def test_packed_photos_are_resumed_where_others_are_gone(source: Path, network: tuple[str, ...]) -> None:
    run(source, network)
    one, other = table_of_two(source.parent / "out")
    one.unlink()
    paint(other, 3)  # the table of both is not kept
    manifest_here("pack", source, "packed", cwd=source.parent)
    packed = source.parent / "packed"
    assert resume(packed, network) == (1, N_FEATURES - 1, N_REJECTED)
    assert f"file:{one}" in table(source.parent / "out" / "features")["path"].to_pylist()
    assert resume(packed, network) == (0, N_FEATURES, N_REJECTED), "they are known to the next run too"
    assert resume(packed, network, "--prune") == (0, N_FEATURES - 1, N_REJECTED)
    check_equals_run_on_everything(source, network)


def test_prune_alone_is_refused(source: Path, network: tuple[str, ...]) -> None:
    done = verger("run", source, "out", *network, "--prune", cwd=source.parent)
    assert done.returncode == 2
    assert "prune" in done.stderr and "resume" in done.stderr


@pytest.mark.parametrize(
    ("error", "helps"),
    [
        (SettingsError("label", "csv:x", "a file"), False),
        (SetupError("onnxruntime is missing"), False),
        (PermissionError(errno.EACCES, "Permission denied", "/photos"), False),
        (StorageError("403", is_refusal=True), False),
        (StorageError("503"), True),
        (ReductionError("3 photos have no 9 components"), True),
        (JobError("a worker process has died"), True),
        (OSError(errno.EIO, "Input/output error", "/photos"), True),
        (KeyboardInterrupt(), True),
    ],
)
def test_resume_is_offered_only_after_errors_that_may_not_come_again(
    error: BaseException, helps: bool, tmp_path: Path, tiny_model: str
) -> None:
    notes = _Notes()
    settings = load_settings(model=tiny_model, engine="local")
    with (
        pytest.raises(type(error)),
        open_run("features", "photos", tmp_path / "out", settings, notes) as context,
    ):
        (context.stage / "features").mkdir()
        (context.stage / "features" / "part.parquet").write_bytes(b"")
        raise error
    assert (CAN_RESUME in notes.messages) == helps


class _Notes(SilentProgress):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def note(self, message: str) -> None:
        self.messages.append(message)
