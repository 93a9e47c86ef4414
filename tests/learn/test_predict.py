from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.chain import verger
from verger.kernel.classifier.classifier import BUNDLED, Classifier, load_classifier
from verger.kernel.classifier.levels import NOT_A_FRUIT
from verger.kernel.classifier.taxonomy import read_taxonomy
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.network import prepare_network
from verger.learn.predict import predict
from verger.sample import SampleOptions, render_sample

KINDS = ("Apple", "Banana", "Lemon", "Strawberry", "Orange", "Pear")


@pytest.fixture(scope="module")
def renders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("renders")
    render_sample(folder, SampleOptions(per_kind=2, seed=5))
    return folder


def test_the_bundled_classifier_names_fruit_without_java_or_weights(renders: Path, tmp_path: Path) -> None:
    photos = [renders / kind / "0_100.jpg" for kind in KINDS]
    nothing = {"JAVA_HOME": "/nowhere", "KERAS_HOME": str(tmp_path), "PATH": ""}
    done = verger("predict", *photos, "--json", cwd=tmp_path, **nothing)
    assert done.returncode == 0, done.stderr
    predictions = [json.loads(line) for line in done.stdout.splitlines()]
    right = [kind == photo["taxon"]["english"] for kind, photo in zip(KINDS, predictions, strict=True)]
    assert sum(right) >= len(KINDS) - 1, [photo["best"] for photo in predictions]
    assert all(1 >= photo["best"][0][1] >= photo["best"][1][1] >= 0 for photo in predictions)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_classifiers_fit_their_network_and_are_named_by_the_taxonomy(name: str) -> None:
    classifier = load_classifier(BUNDLED[name])
    network = prepare_network(NetworkSpec(**classifier.network))
    assert (network.model, network.views) == (name, "crops")
    assert classifier.coef.shape == (len(classifier.labels), network.n_features)
    assert set(classifier.labels) <= {taxon.name for taxon in read_taxonomy().values()} | {NOT_A_FRUIT}
    assert NOT_A_FRUIT in classifier.labels


def test_fruitnet_is_small() -> None:
    network = prepare_network(NetworkSpec("fruitnet"))
    assert sum(len(graph.xml) + len(graph.weights) for graph in network.graphs) < 6_000_000


def test_unreadable_photos_are_reported_and_the_others_are_named(renders: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff not a photo")
    photo = renders / "Banana" / "1_100.jpg"
    done = verger("predict", tmp_path / "broken.jpg", photo, tmp_path / "absent.jpg", cwd=tmp_path, COLUMNS="250")
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert "truncated" in done.stdout or "corrupt" in done.stdout
    assert "No such file" in done.stdout and "Banana" in done.stdout
    alone = verger("predict", tmp_path / "absent.jpg", cwd=tmp_path)
    assert alone.returncode == 1


def test_a_pipe_and_a_device_are_not_read_and_uris_are(renders: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "my photo.png").symlink_to(renders / "Banana" / "1_100.jpg")
    photos = ("pipe.jpg", "zero.jpg", f"file://localhost{tmp_path}/my%20photo.png")
    done = verger("predict", *photos, "--json", cwd=tmp_path)
    errors = [json.loads(line)["error"] for line in done.stdout.splitlines()]
    assert ["not a regular file" in (error or "") for error in errors] == [True, True, False]
    assert errors[2] is None


def test_below_its_threshold_it_is_not_sure(renders: Path, tmp_path: Path) -> None:
    bundled = load_classifier()
    replace(bundled, threshold=1.1).save(tmp_path / "classifier.npz")
    done = verger("predict", renders / "Banana" / "0_100.jpg", "--classifier", ".", "--json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert (answer["name"], answer["decision"], answer["variety"]) == ("not sure", "unsure", None)
    assert answer["species"][0][0] == "Banana" and answer["taxon"]["variety"] == ""


def test_a_label_that_names_only_the_species_is_no_variety(renders: Path) -> None:
    sure_of_all = replace(load_classifier(), threshold=0, variety_threshold=0)
    found = [photo.variety for photo in predict(sorted(renders.glob("*/0_100.jpg")), sure_of_all)]
    assert {"Apple", "Banana", "Lemon", "Pear"}.isdisjoint(found)
    assert any(found) and None in found


@pytest.mark.parametrize("variety_threshold", [0, 1.1])
def test_the_species_is_named_and_the_variety_only_if_it_is_sure(renders: Path, variety_threshold: float) -> None:
    found = replace(load_classifier(), threshold=0, variety_threshold=variety_threshold)
    (photo,) = predict([renders / "Apple" / "0_100.jpg"], found)
    assert photo.decision == "sure" and photo.species[0][0] == "Apple" and photo.taxon is not None
    assert (photo.taxon.english, photo.taxon.latin) == ("Apple", "Malus domestica")
    if variety_threshold:
        assert (photo.name, photo.variety, photo.taxon.variety) == ("Apple", None, "")
    else:
        assert photo.name == photo.variety == f"Apple {photo.taxon.variety}" != "Apple"
    apples = sum(share for label, share in photo.best if label.startswith("Apple"))
    assert photo.species[0][1] >= apples - 1e-5


def test_a_photo_without_fruit_is_refused(renders: Path, tmp_path: Path) -> None:
    bundled = load_classifier()
    labels = (*(label for label in bundled.labels if label != NOT_A_FRUIT), NOT_A_FRUIT)
    coef = np.zeros((len(labels), bundled.coef.shape[1]), np.float32)
    coef[-1] = 1  # features are positive
    replace(bundled, labels=labels, coef=coef, intercept=coef[:, 0], threshold=0).save(tmp_path / "classifier.npz")
    words = ("predict", renders / "Banana" / "0_100.jpg", "--classifier", ".")
    done = verger(*words, "--json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert list(answer) == ["path", "decision", "species", "variety", "best", "taxon", "error", "name"]
    assert answer["name"] == answer["decision"] == "not a fruit" and answer["species"][0][0] == NOT_A_FRUIT
    assert answer["variety"] is None and answer["taxon"] is None and answer["error"] is None
    assert "not a fruit" in verger(*words, cwd=tmp_path).stdout


def test_bundled_classifiers_are_named(renders: Path, tmp_path: Path) -> None:
    words = ("predict", renders / "Banana" / "0_100.jpg", "--json")
    default = verger(*words, cwd=tmp_path)
    named = verger(*words, "--classifier", "fruitnet", cwd=tmp_path)
    assert named.returncode == 0 and named.stdout != default.stdout
    assert [json.loads(done.stdout)["name"] for done in (default, named)] == ["Banana", "Banana"]
    unknown = verger(*words, "--classifier", "frutinet", cwd=tmp_path)
    assert unknown.returncode == 1 and "frutinet holds no classifier" in unknown.stderr
    assert "EfficientNetLite2, fruitnet" in unknown.stderr


@pytest.mark.parametrize(
    ("label", "named"), [("Limes", "Lime"), ("Granny-Smith", "Granny-Smith"), ("my fruit", "my fruit")]
)
def test_labels_of_users_are_named(label: str, named: str, renders: Path) -> None:
    bundled = load_classifier()
    coef = np.zeros((2, bundled.coef.shape[1]), np.float32)
    found = replace(bundled, labels=("cat", label), coef=coef, intercept=np.array([0, 9], np.float32), threshold=0)
    (photo,) = predict([renders / "Banana" / "0_100.jpg"], found)
    assert photo.name == named and photo.variety == (label if label == "Granny-Smith" else None)
    assert [name for name, _ in photo.best] == [label, "cat"]


def test_predictions_use_the_requested_number_of_views(renders: Path) -> None:
    photos = [renders / kind / "1_100.jpg" for kind in KINDS]
    once, again, five = (list(predict(photos, load_classifier(), views=views)) for views in (None, "crops", 5))
    assert once == again != five
    assert sum(kind == (photo.taxon and photo.taxon.english) for kind, photo in zip(KINDS, five, strict=True)) >= 4


def test_predictions_use_the_views_of_the_training_by_default(renders: Path, tmp_path: Path) -> None:
    photos = [renders / kind / "1_100.jpg" for kind in KINDS]
    bundled = load_classifier()
    expected = {views: list(predict(photos, bundled, views=views)) for views in ("whole", "crops")}
    assert expected["whole"] != expected["crops"]
    Classifier(**{**vars(bundled), "network": bundled.network | {"views": "whole"}}).save(tmp_path / "whole.npz")
    trained_on_whole = load_classifier(tmp_path / "whole.npz")
    assert list(predict(photos, trained_on_whole)) == expected["whole"]
    assert list(predict(photos, trained_on_whole, views="crops")) == expected["crops"]
    done = verger("predict", photos[0], "--views", "crops", "--json", cwd=tmp_path)
    assert dict(json.loads(done.stdout)["best"]) == dict(expected["crops"][0].best), done.stderr
    wrong = verger("predict", photos[0], "--views", "four", cwd=tmp_path)
    assert wrong.returncode == 2 and "whole, center, crops, 5" in wrong.stderr


def test_a_classifier_of_other_features_says_so(renders: Path, tmp_path: Path) -> None:
    spec = {"model": "fruitnet", "weights": None, "pooling": "avg", "precision": "f32", "preprocessing": None}
    narrow = Classifier(("a", "b"), np.zeros((2, 7), np.float32), np.zeros(2, np.float32), 1.0, 0.0, spec, {})
    narrow.save(tmp_path / "classifier.npz")
    done = verger("predict", renders / "Banana" / "0_100.jpg", "--classifier", ".", cwd=tmp_path)
    assert done.returncode == 1 and "7 features" in done.stderr


def test_naming_a_photo_imports_nothing_of_spark_or_arrow() -> None:
    """They would cost half of the two seconds an answer may take."""
    heavy = "('pyspark', 'pyarrow', 'pandas')"
    check = f"import sys, verger.learn.predict; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
