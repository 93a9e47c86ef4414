"""Features and classifiers that cannot be used: one line that names the file and the cause."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

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


@pytest.fixture(scope="module")
def sources(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the features of photos of two sources, and a classifier that was trained on them."""
    folder = tmp_path_factory.mktemp("sources")
    shades = {"shops/Granny-Smith": 40, "shops/Lemon": 200, "flickr/apple": 40, "flickr/not-a-fruit": 120}
    for name, shade in shades.items():
        (folder / "photos" / name).mkdir(parents=True)
        for i in range(2 if name.startswith("shops") else 3):
            Image.new("RGB", (9, 9), (shade, shade, i)).save(folder / "photos" / name / f"{i}.png")
    manifest_here("features", "photos", "features", "--model", tiny_model, "--no-report", cwd=folder)
    manifest_here("train", "features", "classifier", "--group", "none", "--folds", 2, cwd=folder)
    return folder


def test_groups_of_photos_are_reported(sources: Path) -> None:
    words = ("evaluate", "features", "judged", "--classifier", "classifier", "--overwrite")
    found = manifest_here(*words, "--by", "source", cwd=sources)["evaluation"]
    written = json.loads((sources / "judged" / "evaluation.json").read_text())
    assert found["by_group"] == written["by_group"] and "coverage_curve" in written["species"]
    counts = [(row["group"], row["n_photos"], row["n_named"], row["n_not_fruit"]) for row in found["by_group"]]
    assert counts == [("flickr", 6, 3, 3), ("shops", 4, 4, 0)]
    assert found["n_photos"] == 7 and found["species"]["n_photos"] == 10
    photos = sum(row["n_photos"] * row["species_accuracy"] for row in found["by_group"])
    assert photos == pytest.approx(10 * found["species"]["accuracy"])
    by_name = manifest_here(*words, "--by", "regex:/([A-Z])[^/]*/[^/]*$", cwd=sources)["evaluation"]["by_group"]
    assert [(row["group"], row["n_photos"]) for row in by_name] == [("", 6), ("G", 2), ("L", 2)]
    assert "by_group" not in manifest_here(*words, cwd=sources)["evaluation"]


def test_the_summary_shows_both_levels_and_the_groups(sources: Path) -> None:
    words = ("evaluate", "features", "shown", "--classifier", "classifier", "--by", "source", "--no-report")
    shown = verger(*words, cwd=sources, COLUMNS="120").stdout
    for name in ("species", "labels", "answered", "refused", "group flickr", "group shops"):
        assert re.search(rf"^│ {name} +│ ", shown, re.MULTILINE), shown


@pytest.mark.parametrize("by", ["sources", "film", "regex:/x/", "regex:(", "regex:(a)(b)"])
def test_a_wrong_grouping_lists_the_valid_ones(by: str, sources: Path) -> None:
    words = ("evaluate", "features", "wrong", "--classifier", "classifier", "--by", by)
    done = verger(*words, cwd=sources)
    assert done.returncode == 2 and not (sources / "wrong").exists()
    assert f"by = {by!r} is not valid: expected one of source, regex:PATTERN with one group" in done.stderr


BUNDLED_FEATURES = ("--model", "fruitnet", "--views", "crops")


def test_features_of_other_views_are_refused(sources: Path) -> None:
    manifest_here("features", "photos", "whole", "--model", "fruitnet", "--no-report", cwd=sources)
    done = verger("evaluate", "whole", "wrong", cwd=sources)
    assert done.returncode == 1 and not (sources / "wrong").exists()
    assert "of fruitnet with the views whole: compute them with --model fruitnet --views crops" in done.stderr


def test_features_of_other_weights_are_refused(sources: Path) -> None:
    manifest_here("features", "photos", "earlier", *BUNDLED_FEATURES, "--no-report", cwd=sources)
    file = sources / "earlier" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["network"]["weights_sha256"] = "0123456789"
    file.write_text(json.dumps(manifest))
    done = verger("evaluate", "earlier", "wrong", cwd=sources)
    assert done.returncode == 1 and "(01234567...): train it again" in done.stderr
    trained = verger("train", "earlier", "earlier-classifier", cwd=sources)
    assert trained.returncode == 0, trained.stderr
    photo = next(path for path in (sources / "photos").rglob("*.*") if path.is_file())
    done = verger("predict", photo, "--classifier", "earlier-classifier", cwd=sources)
    assert done.returncode == 1 and "with other weights (01234567...) than those of this version" in done.stderr


def test_a_bundled_classifier_is_evaluated_by_its_name(sources: Path) -> None:
    manifest_here("features", "photos", "bundled", *BUNDLED_FEATURES, "--no-report", cwd=sources)
    default = manifest_here("evaluate", "bundled", "default", cwd=sources)
    named = manifest_here("evaluate", "bundled", "named", "--classifier", "fruitnet", cwd=sources)
    assert named["evaluation"] == default["evaluation"] and named["evaluation"]["species"]["n_photos"] == 10
    unknown = verger("evaluate", "bundled", "unknown", "--classifier", "fruitnets", cwd=sources)
    assert unknown.returncode == 1 and "EfficientNetLite2, fruitnet" in unknown.stderr


def test_features_of_another_network_are_refused_though_they_have_the_same_length(sources: Path) -> None:
    manifest_here("features", "photos", "small", "--model", "fruitnet", "--no-report", cwd=sources)
    done = verger("evaluate", "small", "wrong", "--classifier", "EfficientNetLite2", cwd=sources)
    assert done.returncode == 1 and not (sources / "wrong").exists()
    assert "trained on features of EfficientNetLite2 with the views crops, but" in done.stderr
    assert "has features of fruitnet with the views whole" in done.stderr
    assert "compute them with --model EfficientNetLite2 --views crops" in done.stderr


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
