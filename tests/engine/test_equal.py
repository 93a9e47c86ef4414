"""Both engines write the same tables, to the last bit, and each resumes a run of the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support import s3
from tests.support.chain import contents, manifest_here, manifest_of, table
from tests.support.events import ENGINES
from verger.cli import app
from verger.errors import ReductionError
from verger.storage.uri import any_path

TABLES = ("features", "rejected", "components")
OTHER = {"local": "spark", "spark": "local"}


@pytest.fixture(scope="module")
def words(photos: Path, tiny_model: str) -> tuple[object, ...]:
    """What is run, less the name of the result."""
    return (photos, "--model", tiny_model, "--components", 2, "--no-report")


@pytest.fixture(scope="module")
def result(words: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of the local engine with two workers."""
    return run(words, "local", tmp_path_factory.mktemp("local"))


def run(words: tuple[object, ...], engine: str, folder: Path, *more: object) -> Path:
    """Run the chain in this process; return the result."""
    src, *flags = words
    manifest = manifest_here("run", src, "out", *flags, *more, cwd=folder, engine=engine)
    assert manifest["settings"]["engine"] == engine
    return folder / "out"


def check_equal(one: Path, other: Path) -> None:
    """Compare the rows of all tables, and the PCA."""
    for name in TABLES:
        assert table(one / name).num_rows > 0
        assert table(one / name).equals(table(other / name)), name
    for file in ("state.npz", "spectrum.csv"):
        assert (one / "model" / file).read_bytes() == (other / "model" / file).read_bytes(), file


@pytest.mark.core
@pytest.mark.usefixtures("spark")
def test_spark_and_local_processes_write_the_same_files(
    result: Path, words: tuple[object, ...], tmp_path: Path
) -> None:
    other = run(words, "spark", tmp_path)
    check_equal(result, other)
    for name in TABLES:
        assert contents(result / name) == contents(other / name), name


@pytest.mark.usefixtures("spark")
def test_views_have_the_same_bits_on_both_engines(result: Path, words: tuple[object, ...], tmp_path: Path) -> None:
    for engine in ENGINES:
        (tmp_path / engine).mkdir()
        run(words, engine, tmp_path / engine, "--views", "crops")
    check_equal(tmp_path / "local" / "out", tmp_path / "spark" / "out")
    assert not table(result / "features").equals(table(tmp_path / "local" / "out" / "features"))


def test_the_number_of_workers_makes_no_difference(result: Path, words: tuple[object, ...], tmp_path: Path) -> None:
    src, *flags = words
    manifest_of("run", src, "out", *flags, "--workers", 1, cwd=tmp_path)
    assert len(contents(tmp_path / "out" / "features")) < len(contents(result / "features"))
    check_equal(result, tmp_path / "out")


@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize("engine", list(ENGINES))
def test_single_files_hold_the_same_rows(
    engine: str, result: Path, words: tuple[object, ...], tmp_path: Path
) -> None:
    check_equal(result, run(words, engine, tmp_path, "--single-file", "--export", "csv,json"))


@pytest.mark.usefixtures("spark")
def test_single_files_are_the_same_to_the_byte(words: tuple[object, ...], tmp_path: Path) -> None:
    for engine in ENGINES:
        (tmp_path / engine).mkdir()
        run(words, engine, tmp_path / engine, "--single-file", "--export", "csv,json")
    for name in ("components.csv", "components.json"):
        assert (tmp_path / "local" / "out" / name).read_bytes() == (tmp_path / "spark" / "out" / name).read_bytes()


@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize("engine", list(ENGINES))
def test_what_one_engine_began_the_other_finishes(
    engine: str, result: Path, words: tuple[object, ...], tmp_path: Path
) -> None:
    fail_before_reduction(words, engine, tmp_path)
    done = sorted((tmp_path / ".out.verger-staging").glob("run-*/features/*.parquet"))
    n_features = table(result / "features").num_rows
    n_lost = sum(table(path).num_rows for path in done[::2])
    assert 0 < n_lost < n_features
    for path in done[::2]:
        path.unlink()
    src, *flags = words
    manifest = manifest_here("run", src, "out", *flags, "--resume", cwd=tmp_path, engine=OTHER[engine])
    assert manifest["counts"]["computed"] == n_lost and manifest["counts"]["reused"] == n_features - n_lost
    check_equal(result, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def fail_before_reduction(words: tuple[object, ...], engine: str, folder: Path) -> None:
    """Run everything but the last steps."""

    def fail(*_: object) -> None:
        raise ReductionError("disturbed")

    src, *flags = words
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("verger.pipeline.reduce.reduce_features", fail)
        command = ["run", src, folder / "out", *flags, "--engine", engine]
        done = CliRunner().invoke(app, list(map(str, command)))
    assert isinstance(done.exception, ReductionError)


@pytest.mark.slow
@pytest.mark.parametrize("engine", list(ENGINES))
def test_results_in_an_object_store_are_the_same(
    engine: str, result: Path, photos: Path, words: tuple[object, ...], tmp_path: Path
) -> None:
    with s3.serving():
        s3.put_tree(photos, "photos")
        src, out = f"s3a://{s3.BUCKET}/photos", f"s3a://{s3.BUCKET}/results/out"
        _, *flags = words
        workers = ("--workers", 2) if engine == "local" else ()
        manifest_of("run", src, out, *flags, *ENGINES[engine], *workers, cwd=tmp_path)
        place = any_path(out)
        for name in TABLES:
            (tmp_path / name).mkdir()
            for file in (place / name).glob("*.parquet"):
                (tmp_path / name / file.name).write_bytes(file.read_bytes())
        assert [key for key in s3.keys("results/") if "staging" in key] == []
    for name in TABLES:
        ours, theirs = table(tmp_path / name), table(result / name)
        assert len(ours) == len(theirs) and ours.drop(["path"]).equals(theirs.drop(["path"])), name
