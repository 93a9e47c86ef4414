"""Features and classifiers that cannot be used: one line that names the file and the cause."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.chain import beside_progress, manifest_here, manifest_of, verger
from verger.errors import ClassifierError, SourceError, VergerError
from verger.kernel.classifier.classifier import load_classifier
from verger.learn.evaluate import evaluate
from verger.learn.fit_local import read_examples


@pytest.fixture(scope="module")
def trained(photos: Path, tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the result `features` and the classifier `classifier`."""
    folder = tmp_path_factory.mktemp("trained")
    manifest_here("run", photos, "features", "--model", tiny_model, "--components", 2, "--no-report", cwd=folder)
    manifest_here("train", "features", "classifier", cwd=folder)
    return folder


def _with_value(value: float) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        table = pq.read_table(file)
        columns = table.to_pydict()
        columns["features"][0][1] = value
        pq.write_table(pa.table(columns, schema=table.schema), file)

    return damage


def _half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:200])


def _foreign(file: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), file)


def _texts(file: Path) -> None:
    pq.write_table(pa.table({"path": ["a"], "label": ["b"], "features": ["c"], "sha256": ["0"]}), file)


DAMAGES = [
    (_with_value(float("nan")), ClassifierError, "NaN or infinity in 1 of"),
    (_with_value(float("-inf")), ClassifierError, "NaN or infinity in 1 of"),
    (_half, SourceError, "damaged"),
    (_foreign, SourceError, "no column features, label, path"),
    (_texts, SourceError, "features are string; expected arrays"),
]


@pytest.mark.parametrize(("damage", "kind", "words"), DAMAGES)
def test_features_that_cannot_be_used_are_named(
    damage: Callable[[Path], None], kind: type[VergerError], words: str, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / "features", tmp_path / "features")
    file = min((tmp_path / "features" / "features").glob("*.parquet"))
    damage(file)
    with pytest.raises(kind, match=f"^{file}.*{words}"):
        evaluate(load_classifier(trained / "classifier"), tmp_path / "features")
    with pytest.raises(kind, match=f"^{file}.*{words}"):
        read_examples(tmp_path / "features", "features")


@pytest.mark.parametrize("damage", [_half, _foreign])
def test_resume_and_reduce_name_damaged_features(
    damage: Callable[[Path], None], trained: Path, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    shutil.copytree(trained / "features", tmp_path / "out")
    file = min((tmp_path / "out" / "features").glob("*.parquet"))
    damage(file)
    words = ("run", photos, "out", "--model", tiny_model, "--components", 2, "--no-report", "--resume")
    for command in (words, ("reduce", "out", "components")):
        done = verger(*command, cwd=tmp_path)
        assert done.returncode == 1
        (line,) = beside_progress(done.stderr)
        assert line.startswith(f"error: {file}")


@pytest.mark.parametrize("text", [b"{no json", b"\xff\xfe", b"[1]"])
def test_a_manifest_that_is_none_is_named(text: bytes, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "features", tmp_path / "features")
    (tmp_path / "features" / "manifest.json").write_bytes(text)
    done = verger("train", "features", "classifier", cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path}/features/manifest.json cannot be read: ")


def test_a_damaged_state_of_a_pca_is_named(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "features", tmp_path / "earlier")
    (tmp_path / "earlier" / "model" / "state.npz").write_bytes(b"PK\x03\x04 and no more")
    done = verger("reduce", trained / "features", "out", "--update", "earlier", cwd=tmp_path)
    assert done.returncode == 1
    (line,) = beside_progress(done.stderr)
    assert line.startswith(f"error: {tmp_path}/earlier/model/state.npz is damaged")


@pytest.mark.slow
def test_training_on_spark_names_features_that_are_not_finite(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "features", tmp_path / "features")
    file = min((tmp_path / "features" / "features").glob("*.parquet"))
    _with_value(float("nan"))(file)
    done = verger("train", "features", "out", "--engine", "spark", cwd=tmp_path)
    assert done.returncode == 1
    assert f"error: {file}: NaN or infinity in 1 of" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_local_paths_stay_local_if_hadoop_has_another_default(
    trained: Path, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "core-site.xml").write_text(
        "<configuration><property><name>fs.defaultFS</name><value>hdfs://far.invalid:8020</value></property>"
        "</configuration>"
    )
    hadoop = {"HADOOP_CONF_DIR": str(tmp_path / "conf")}
    words = ("--model", tiny_model, "--components", 2, "--engine", "spark", "--no-report")
    assert manifest_of("run", photos, "out", *words, cwd=tmp_path, **hadoop)["counts"]["features"] == 12
    flags = ("--engine", "spark", "--regularisation", "0.01")
    assert manifest_of("train", trained / "features", "classifier", *flags, cwd=tmp_path, **hadoop)["evaluation"]
