from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support import engine_tasks
from tests.support.chain import beside, files, manifest_here, manifest_of, table, verger
from tests.support.events import ENGINES
from tests.support.photos import hostile_photos
from verger.errors import DecodeError, JobError, ResultError
from verger.kernel.decode import decode_rgb
from verger.settings import Settings
from verger.storage import schemas

N_LISTED, N_GOOD = 15, 12


@dataclass(frozen=True)
class Result:
    out: Path
    manifest: dict[str, Any]


@pytest.fixture(scope="module")
def network(tiny_model: str) -> tuple[str, ...]:
    return ("--model", tiny_model)


@pytest.fixture(scope="module")
def result(photos: Path, network: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Result:
    """One run of everything, which most tests look at."""
    folder = tmp_path_factory.mktemp("result")
    options = ["--components", 2, "--export", "csv,json", "--single-file"]
    manifest = manifest_of("run", photos, "out", *network, *options, cwd=folder)
    return Result(folder / "out", manifest)


def vectors(rows: pa.Table, column: str) -> np.ndarray[Any, np.dtype[Any]]:
    return np.array(rows[column].to_pylist())


def paths(folder: Path) -> list[str]:
    rows: list[str] = table(folder)["path"].to_pylist()
    return rows


def test_every_listed_photo_is_in_features_or_rejected(result: Result) -> None:
    counts = result.manifest["counts"]
    assert (counts["listed"], counts["features"], counts["rejected"]) == (N_LISTED, N_GOOD, N_LISTED - N_GOOD)
    assert len(paths(result.out / "features")) == N_GOOD
    assert counts["labels"] == 3


def test_rejected_says_why(result: Result) -> None:
    rows = table(result.out / "rejected").to_pylist()
    reasons = {Path(row["path"]).name: row["reason"] for row in rows}
    assert reasons == {"empty.jpg": "empty", "words.jpeg": "not-an-image", "half.png": "truncated"}
    assert all(row["detail"] for row in rows)
    assert result.manifest["counts"]["rejected_by_reason"] == dict.fromkeys(reasons.values(), 1)


@pytest.mark.parametrize(
    ("name", "promised"),
    [("features", schemas.FEATURES), ("rejected", schemas.REJECTED), ("components", schemas.COMPONENTS)],
)
def test_the_tables_have_the_columns_they_promise(result: Result, name: str, promised: pa.Schema) -> None:
    assert pq.read_table(result.out / name).schema.equals(promised)


def test_features_hold_label_size_and_vector_of_each_photo(result: Result) -> None:
    for row in table(result.out / "features").to_pylist():
        assert row["label"] == Path(row["path"]).parent.name
        assert (row["width"], row["height"], len(row["features"])) == (30, 20, 4)


def test_components_are_the_pca_of_the_features(result: Result) -> None:
    features = vectors(table(result.out / "features"), "features").astype(np.float64)
    values, directions = np.linalg.eigh(np.cov(features.T))
    expected = (features - features.mean(axis=0)) @ directions[:, ::-1][:, :2]
    rows = table(result.out / "components")
    assert rows["path"].to_pylist() == paths(result.out / "features")
    # An eigenvector's sign is free.
    np.testing.assert_allclose(np.abs(vectors(rows, "components")), np.abs(expected), rtol=1e-4, atol=1e-4)
    kept = values[::-1][:2].sum() / values.sum()
    assert result.manifest["reduction"]["explained_variance_ratio"] == pytest.approx(kept, abs=1e-9)


def test_csv_equals_the_parquet(result: Result) -> None:
    with (result.out / "components.csv").open(newline="", encoding="utf-8") as lines:
        header, *rows = csv.reader(lines)
    assert header == ["path", "label", "pc_1", "pc_2"]
    parquet = table(result.out / "components")
    assert [row[:2] for row in sorted(rows)] == list(
        map(list, zip(parquet["path"].to_pylist(), parquet["label"].to_pylist(), strict=True))
    )
    numbers = np.array([row[2:] for row in sorted(rows)]).astype(np.float32)
    np.testing.assert_array_equal(numbers, vectors(parquet, "components").astype(np.float32))


def test_json_lines_equal_the_parquet(result: Result) -> None:
    lines = (result.out / "components.json").read_text(encoding="utf-8").splitlines()
    rows = sorted((json.loads(line) for line in lines), key=lambda row: str(row["path"]))
    for ours, theirs in zip(rows, table(result.out / "components").to_pylist(), strict=True):
        assert (ours["path"], ours["label"]) == (theirs["path"], theirs["label"])
        np.testing.assert_array_equal(np.float32(ours["components"]), np.float32(theirs["components"]))


def test_single_file_means_one_file_a_table(result: Result) -> None:
    assert len(list((result.out / "components").glob("*.parquet"))) == 1
    assert len(list((result.out / "rejected").glob("*.parquet"))) == 1
    assert (result.out / "components.csv").is_file() and (result.out / "components.json").is_file()


def test_the_manifest_tells_what_ran_on_what(result: Result, tiny_model: str, photos: Path) -> None:
    manifest = json.loads((result.out / "manifest.json").read_text())
    assert manifest == result.manifest
    assert manifest["command"] == "run" and manifest["source"] == str(photos)
    assert {"python", "openvino", "numpy", "pillow"} <= manifest["versions"].keys()
    assert manifest["settings"]["engine"] == "local" and "pyspark" not in manifest["versions"]
    assert manifest["settings"].keys() == Settings.model_fields.keys()
    assert manifest["settings"]["components"] == 2
    assert manifest["network"]["model"] == tiny_model and len(manifest["network"]["weights_sha256"]) == 64
    assert {"list", "convert", "featurize", "check", "reduce", "export", "total"} <= manifest["timings_s"].keys()
    assert manifest["exports"] == ["components.csv", "components.json"]
    assert manifest["parity"]["n_checked"] == N_GOOD
    assert manifest["parity"]["min_cosine"] > 0.9999


def test_the_report_tells_of_every_label(result: Result) -> None:
    page = (result.out / "report.html").read_text(encoding="utf-8")
    assert all(label in page for label in ("apple", "kiwi", "pear"))


def test_the_model_folder_holds_spectrum_and_state(result: Result) -> None:
    lines = (result.out / "model" / "spectrum.csv").read_text().splitlines()
    assert lines[0] == "component,explained_variance,explained_variance_ratio,cumulative_ratio"
    assert len(lines) == 1 + 4
    assert float(lines[-1].split(",")[-1]) == pytest.approx(1)
    assert (result.out / "model" / "state.npz").stat().st_size > 0


def test_nothing_else_is_left(result: Result) -> None:
    tables = {"features", "rejected", "components", "components.csv", "components.json", "model", "listing"}
    assert {path.name for path in result.out.iterdir()} == tables | {"manifest.json", "report.html"}
    assert [path.name for path in result.out.parent.iterdir()] == ["out"]


@pytest.fixture(scope="module")
def halves(photos: Path, network: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("halves")
    features = manifest_here("features", photos, "features", *network, cwd=folder)
    assert features["reduction"] is None and features["counts"]["features"] == N_GOOD
    manifest_here("reduce", "features", "reduced", "--components", 2, cwd=folder)
    return folder


def test_the_two_halves_give_what_the_whole_gives(result: Result, halves: Path) -> None:
    assert table(halves / "features" / "features").equals(table(result.out / "features"))
    ours, theirs = table(halves / "reduced" / "components"), table(result.out / "components")
    assert ours["path"].equals(theirs["path"])
    np.testing.assert_allclose(vectors(ours, "components"), vectors(theirs, "components"), rtol=1e-5, atol=1e-5)
    assert not (halves / "reduced" / "features").exists()


def test_an_update_equals_a_run_on_all(
    result: Result, photos: Path, network: tuple[str, ...], tmp_path: Path
) -> None:
    """The old features are gone by then: only the state of the first PCA is left."""
    manifest_here("run", photos / "apple", "old", *network, "--components", 2, "--no-report", cwd=tmp_path)
    manifest_here("features", photos / "[kp]*", "new", *network, "--no-report", cwd=tmp_path)
    shutil.rmtree(tmp_path / "old" / "features")
    updated = manifest_here("reduce", "new", "both", "--components", 2, "--update", "old", cwd=tmp_path)
    assert updated["reduction"]["n_samples"] == N_GOOD
    found = {row["path"]: row["components"] for row in table(tmp_path / "both" / "components").to_pylist()}
    whole = {row["path"]: row["components"] for row in table(result.out / "components").to_pylist()}
    assert len(found) == 8
    for path, components in found.items():
        np.testing.assert_allclose(components, whole[path], rtol=1e-4, atol=1e-4)
    spectra = [folder / "model" / "spectrum.csv" for folder in (tmp_path / "both", result.out)]
    ours, theirs = (np.loadtxt(file, delimiter=",", skiprows=1) for file in spectra)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)


def test_a_result_is_not_replaced_unasked(photos: Path, network: tuple[str, ...], result: Result) -> None:
    before = files(result.out)
    done = verger("run", photos, "out", *network, cwd=result.out.parent)
    assert done.returncode == 1
    assert "--overwrite" in done.stderr and "Traceback" not in done.stderr
    assert files(result.out) == before and beside(result.out) == []


def test_a_result_never_replaces_what_it_is_made_of(
    photos: Path, network: tuple[str, ...], halves: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "halves"
    shutil.copytree(halves, folder)
    shutil.copy(network[1], folder / "reduced" / "own.onnx")
    before = files(folder)
    for words in (
        ("reduce", "features", "features", "--components", 2),
        ("reduce", "features/features", "features", "--components", 2),
        ("reduce", "features", "reduced", "--update", "reduced", "--components", 2),
        ("features", photos, "reduced", "--model", "reduced/own.onnx"),
        ("features", photos, "reduced", *network, "--label", "csv:reduced/labels.csv"),
        ("pack", "features/*", "features"),
    ):
        with pytest.raises(ResultError, match="would replace the source"):
            manifest_here(*words, "--overwrite", cwd=folder)
    assert files(folder) == before


def test_a_folder_of_photos_may_hold_the_result(photos: Path, network: tuple[str, ...], tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    for more in ((), ("--overwrite",), ("--resume",)):
        manifest = manifest_here("features", "photos", "photos/out", *network, *more, cwd=tmp_path)
        assert manifest["counts"]["features"] == N_GOOD


def test_a_run_that_fails_leaves_the_old_result(photos: Path, result: Result) -> None:
    before = files(result.out)
    done = verger("run", photos, "out", "--overwrite", "--weights", "absent.h5", cwd=result.out.parent)
    assert done.returncode == 1
    assert "absent.h5" in done.stderr and "Traceback" not in done.stderr
    assert files(result.out) == before and beside(result.out) == []


def test_overwrite_replaces_and_limit_takes_the_first(
    photos: Path, network: tuple[str, ...], tmp_path: Path
) -> None:
    few = manifest_here("features", photos, "out", *network, "--limit", 2, cwd=tmp_path)
    assert few["counts"]["listed"] == 2
    assert [Path(path).parent.name for path in paths(tmp_path / "out" / "features")] == ["apple", "apple"]
    some = manifest_here("features", photos, "out", *network, "--sample", "60%", "--overwrite", cwd=tmp_path)
    listed = some["counts"]["listed"]
    assert 2 < listed < N_LISTED
    table_of = [*paths(tmp_path / "out" / "features"), *paths(tmp_path / "out" / "rejected")]
    assert len(set(table_of)) == listed
    assert beside(tmp_path / "out") == []


def test_where_too_few_photos_can_be_read_for_pca_the_rest_is_kept(
    photos: Path, network: tuple[str, ...], tmp_path: Path
) -> None:
    """One folder with one good photo and one broken one: features and rejected are worth having."""
    (tmp_path / "few").mkdir()
    for name in ("1.png", "half.png"):
        shutil.copy(photos / "kiwi" / name, tmp_path / "few")
    done = verger("run", "few", "out", *network, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no components: PCA needs at least two photos" in done.stdout
    assert paths(tmp_path / "out" / "features") == [f"file:{tmp_path}/few/1.png"]
    assert paths(tmp_path / "out" / "rejected") == [f"file:{tmp_path}/few/half.png"]
    assert not (tmp_path / "out" / "components").exists()
    assert (tmp_path / "out" / "report.html").is_file()
    reduced = verger("reduce", "out", "reduced", cwd=tmp_path)
    assert reduced.returncode == 1
    assert "PCA needs two photos" in reduced.stderr
    assert "Traceback" not in reduced.stderr


def test_components_that_are_not_complete_are_not_published(
    halves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verger.pipeline.reduce.project_partition", engine_tasks.project_half)
    with pytest.raises(JobError, match="12 features gave 6 rows of components"):
        manifest_here("reduce", halves / "features", "out", "--components", 2, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("engine", ["local", pytest.param("spark", marks=pytest.mark.slow)])
@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("command", ["run", "features"])
def test_where_every_photo_is_rejected_the_result_says_so(
    photos: Path,
    network: tuple[str, ...],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    command: str,
    single: bool,
    engine: str,
) -> None:
    if engine == "spark":
        request.getfixturevalue("spark")
    (tmp_path / "bad").mkdir()
    for name in ("pear/empty.jpg", "kiwi/half.png"):
        shutil.copy(photos / name, tmp_path / "bad")
    flags = ("--export", "csv,json", "--single-file" if single else "--no-single-file")
    manifest = manifest_here(command, "bad", "out", *network, *flags, cwd=tmp_path, engine=engine)
    assert (manifest["counts"]["features"], manifest["counts"]["rejected"]) == (0, 2)
    assert table(tmp_path / "out" / "features").schema.equals(schemas.FEATURES)
    assert manifest["exports"] == ([] if command == "run" else ["features.csv", "features.json"])
    for name in manifest["exports"]:
        (file,) = [tmp_path / "out" / name] if single else (tmp_path / "out" / name).iterdir()
        assert file.read_text() == ('"path","label"\n' if name == "features.csv" else "")


@pytest.mark.slow
def test_real_photos_give_the_pca_that_numpy_gives(fruits360_test: Path, tmp_path: Path) -> None:
    manifest = manifest_of("run", fruits360_test, "out", cwd=tmp_path)
    assert manifest["counts"]["listed"] == manifest["counts"]["features"] == 4120
    assert manifest["parity"]["min_cosine"] > 0.9999
    features = vectors(table(tmp_path / "out" / "features"), "features").astype(np.float64)
    centred = features - features.mean(axis=0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    ratio = singular**2 / (singular**2).sum()
    k = int(np.argmax(np.cumsum(ratio) >= 0.9)) + 1
    found = manifest["reduction"]
    assert found["n_components"] == k
    assert found["explained_variance_ratio"] == pytest.approx(ratio[:k].sum(), abs=1e-8)
    spectrum = np.loadtxt(tmp_path / "out" / "model" / "spectrum.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(spectrum[: len(ratio), 2], ratio, atol=1e-8)
    components = vectors(table(tmp_path / "out" / "components"), "components")
    expected = centred @ directions[:k].T
    np.testing.assert_allclose(np.abs(components), np.abs(expected), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("engine", list(ENGINES))
def test_hostile_photos_go_where_the_decoder_says(engine: str, tmp_path: Path, network: tuple[str, ...]) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    expected: dict[str, str | None] = {}
    for name, data in hostile_photos(2000, seed=20):
        (folder / name).write_bytes(data)
        try:
            decode_rgb(data)
            expected[name] = None
        except DecodeError as error:
            expected[name] = error.reason
    assert len(expected) == 2000
    manifest = manifest_of("features", folder, "out", *network, *ENGINES[engine], cwd=tmp_path)
    counts = manifest["counts"]
    assert counts["listed"] == 2000 == counts["features"] + counts["rejected"]
    rejected = table(tmp_path / "out" / "rejected").to_pylist()
    found: dict[str, str | None] = {Path(row["path"]).name: row["reason"] for row in rejected}
    found |= {Path(path).name: None for path in paths(tmp_path / "out" / "features")}
    assert found == expected


def test_a_run_that_spends_its_time_decoding_says_what_to_do(
    photos: Path, network: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "large").mkdir()
    Image.effect_noise((2400, 1600), 60).convert("RGB").save(tmp_path / "large" / "photo.jpg")
    words = ("features", "large", "out", *network, "--no-report", "--overwrite")
    assert "--decode scaled" in verger(*words, cwd=tmp_path).stderr
    assert "--decode scaled" not in verger(*words, "--decode", "scaled", cwd=tmp_path).stderr
    few = ("features", photos, "few", *network, "--no-report")
    assert "--decode scaled" not in verger(*few, cwd=tmp_path).stderr
