from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from verger.errors import ResultError, SettingsError, SetupError, SourceError, VergerError
from verger.kernel.classifier.classifier import load_classifier
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.inference import Extractor
from verger.kernel.networks.network import prepare_network
from verger.learn.augment.views import augment
from verger.learn.finetune.finetune import FinetuneResult, finetune
from verger.learn.finetune.finetune_options import FinetuneOptions
from verger.learn.finetune.keras_process import run_keras_process
from verger.learn.finetune.validation_split import split_photos
from verger.learn.predict import predict
from verger.process.progress import SilentProgress

TINY = FinetuneOptions(weights="random:0", size_px=32, head_epochs=1, epochs=1, batch_size=8)
COLOURS = {"green": (40, 180, 60), "red": (200, 40, 40)}

COMPARE_PREPROCESSING = """
import keras, numpy as np
from keras.applications.imagenet_utils import preprocess_input
from verger.kernel.networks.catalog import CATALOG
from verger.learn.finetune.keras_extractor import LAYOUTS, _preprocess
pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3)).astype(np.float32)
for model in ("MobileNetV2", "VGG16", "DenseNet121"):
    expected = preprocess_input(pixels.copy(), mode=CATALOG[model].preprocessing, data_format="channels_last")
    for layout in LAYOUTS:
        order, back = ((0, 3, 1, 2), (0, 2, 3, 1)) if layout == "channels_first" else ((0, 1, 2, 3),) * 2
        inputs = keras.Input(pixels.transpose(order).shape[1:])
        ready = keras.Model(inputs, _preprocess(inputs, model, layout))
        found = np.asarray(ready(pixels.transpose(order))).transpose(back)
        np.testing.assert_allclose(found, expected, atol=2e-5 * abs(expected).max(), err_msg=f"{model} {layout}")
"""

COMPARE_WITH_START = """
import json, sys, keras, numpy as np
from verger.learn.finetune.keras_extractor import backbone_of, start_weights
from verger.learn.finetune.finetune_options import FinetuneOptions
start, _ = start_weights(FinetuneOptions(weights="random:0"))
model = keras.saving.load_model(sys.argv[1])
variables = backbone_of(model).weights
changed = [v.path for v, old in zip(variables, start, strict=True) if not np.array_equal(v.numpy(), old)]
print(json.dumps({"input_shape": model.input_shape, "changed": changed}))
"""


@dataclass
class Watch(SilentProgress):
    """Records the progress, and copies the sample from the work folder before it is removed."""

    out: Path
    stages: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    last: tuple[int, int] = (0, 0)

    def stage(self, name: str, n_photos: int | None = None) -> None:
        self.stages.append(name)
        if name == "save model":
            (work,) = (self.out.parent / f".{self.out.name}.verger-staging").glob("run-*/work")
            shutil.copy(work / "sample.npz", self.out.parent)

    def note(self, words: str) -> None:
        self.notes.append(words)

    def advance(self, n_done: int, n_rejected: int) -> None:
        if self.stages[-1] == "read photos":
            self.last = (n_done, n_rejected)


def paint_photos(folder: Path, n_each: int) -> None:
    rng = np.random.default_rng(0)
    for label, colour in COLOURS.items():
        (folder / label).mkdir(parents=True)
        for i in range(n_each):
            pixels = np.clip(np.array(colour) + rng.normal(0, 25, (40, 48, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{chr(97 + i)}.jpg")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Watch, FinetuneResult]:
    """A complete fine-tuning on 30 photos and a broken one."""
    folder = tmp_path_factory.mktemp("finetune")
    paint_photos(folder / "photos", 15)
    (folder / "photos" / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xffnot a photo")
    watch = Watch(folder / "tuned")
    return watch, finetune(str(folder / "photos"), watch.out, TINY, watch)


@pytest.mark.slow
def test_a_fine_tuning_leaves_its_result_and_nothing_else(run: tuple[Watch, FinetuneResult]) -> None:
    watch, result = run
    files = {"model.keras", "classifier.npz", "history.json", "finetune.json", "manifest.json", "report.html"}
    assert {path.name for path in watch.out.iterdir()} == files
    assert {path.name for path in watch.out.parent.iterdir()} == {"photos", "tuned", "sample.npz"}
    assert result.labels == ["green", "red"]
    assert (result.n_training, result.n_validation, result.n_rejected) == (24, 6, 1)
    stages = ["list photos", "read photos", "load network", "head 1/1", "upper 1/1", "save model"]
    assert watch.stages == stages
    assert [note.split(":")[0] for note in watch.notes[:2]] == ["epoch 1 (head)", "epoch 2 (upper)"]


@pytest.mark.slow
def test_the_facts_describe_the_run(run: tuple[Watch, FinetuneResult]) -> None:
    watch, result = run
    facts = json.loads((watch.out / "finetune.json").read_text())
    counts = facts["counts"]
    assert counts["listed"] == counts["training"] + counts["validation"] + counts["rejected"] == 31
    assert counts["left_out"] == 0
    assert facts["settings"]["weights"] == facts["network"]["weights_from"] == "random:0"
    assert [label["n_training"] for label in facts["labels"]] == [12, 12]
    assert {"verger", "keras", "openvino"} < set(facts["versions"])
    history = json.loads((watch.out / "history.json").read_text())
    assert [(row["epoch"], row["stage"]) for row in history] == [(1, "head"), (2, "upper")]
    best = min(history, key=lambda row: row["val_loss"])
    assert facts["best_epoch"] == result.best_epoch == best["epoch"]
    assert facts["validation_accuracy"] == best["val_accuracy"] == result.validation_accuracy


@pytest.mark.slow
def test_a_corrupt_photo_is_counted_and_not_fatal(run: tuple[Watch, FinetuneResult]) -> None:
    watch, _ = run
    facts = json.loads((watch.out / "finetune.json").read_text())
    assert watch.last == (31, 1)
    assert facts["counts"]["rejected_by_reason"] == {"corrupt": 1}
    assert [Path(photo["path"]).name for photo in facts["rejected"]] == ["broken.jpg"]


@pytest.mark.slow
def test_the_chain_gives_the_vectors_of_the_trained_model(run: tuple[Watch, FinetuneResult]) -> None:
    watch, result = run
    network = prepare_network(NetworkSpec(model=str(result.model)))
    assert network.size_px == (32, 32) and network.n_features == 1280
    extractor = Extractor(network)
    with np.load(watch.out.parent / "sample.npz") as sample:
        pixels, trained = sample["pixels"], sample["features"]
    vectors = np.array([extractor(photo) for photo in pixels])
    assert len(vectors) == 6 and vectors.std(axis=0).max() > 0.01
    np.testing.assert_allclose(vectors, trained, rtol=1e-3, atol=1e-4)
    facts = json.loads((watch.out / "finetune.json").read_text())
    assert facts["parity"]["min_cosine"] > 0.9999


@pytest.mark.slow
def test_a_moved_result_still_predicts(run: tuple[Watch, FinetuneResult], tmp_path: Path) -> None:
    watch, result = run
    moved = tmp_path / "moved"
    shutil.copytree(watch.out, moved)
    classifier = load_classifier(moved)
    assert classifier.network["model"] == str(moved / "model.keras")
    photos = sorted((watch.out.parent / "photos").rglob("[a-n].jpg"))
    named = list(predict(photos, classifier))
    assert {label for photo in named for label, _ in photo.best} == {"green", "red"}
    with np.load(watch.out.parent / "sample.npz") as sample:
        logits = classifier.logits(sample["features"])
    facts = json.loads((watch.out / "finetune.json").read_text())
    n_right = round(facts["validation_accuracy"] * result.n_validation)
    truth = np.repeat([0, 1], result.n_validation // 2)
    assert (logits.argmax(axis=1) == truth).sum() == n_right


@pytest.mark.slow
def test_the_saved_model_is_fast_and_only_its_upper_kernels_have_changed(run: tuple[Watch, FinetuneResult]) -> None:
    env = {**os.environ, "KERAS_BACKEND": "openvino"}
    command = [sys.executable, "-c", COMPARE_WITH_START, str(run[1].model)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["input_shape"] == [None, 3, 32, 32], "channels-first"
    blocks = {int(name.split("_")[1]) for name in found["changed"] if name.startswith("block_")}
    assert all(name.endswith("kernel") for name in found["changed"]), "batch normalization stays frozen"
    assert min(blocks) >= 10 if run[1].best_epoch == 2 else not found["changed"]


@pytest.mark.slow
def test_the_report_has_the_curves_and_loads_nothing(run: tuple[Watch, FinetuneResult]) -> None:
    html = (run[0].out / "report.html").read_text()
    assert "Plotly.newPlot" in html and '"val_accuracy":' in html
    assert "The initial weights were random." in html
    assert "default-src 'none'" in html and "<link" not in html and 'src="http' not in html
    assert "broken.jpg" in html


@pytest.mark.slow
def test_an_existing_result_is_not_replaced(run: tuple[Watch, FinetuneResult]) -> None:
    watch, _ = run
    before = (watch.out / "finetune.json").read_bytes()
    with pytest.raises(ResultError, match="--overwrite"):
        finetune(str(watch.out.parent / "photos"), watch.out, TINY, SilentProgress())
    assert (watch.out / "finetune.json").read_bytes() == before


@pytest.mark.parametrize("source", ["out", "out/red"])
def test_photos_and_weights_are_not_replaced_by_the_model(tmp_path: Path, source: str) -> None:
    with pytest.raises(ResultError, match="would replace the source"):
        finetune(str(tmp_path / source), tmp_path / "out", TINY, SilentProgress(), overwrite=True)
    options = replace(TINY, weights=str(tmp_path / source / "own.h5"))
    with pytest.raises(ResultError, match="would replace the source"):
        finetune(str(tmp_path / "photos"), tmp_path / "out", options, SilentProgress(), overwrite=True)


@pytest.mark.parametrize(("n_labels", "words"), [(1, "two labels"), (2, "no photo is left for validation")])
def test_too_few_photos_are_a_one_line_error_and_leave_nothing(tmp_path: Path, n_labels: int, words: str) -> None:
    paint_photos(tmp_path / "photos", 3 if n_labels == 1 else 1)
    if n_labels == 1:
        shutil.rmtree(tmp_path / "photos" / "red")
    with pytest.raises(SourceError, match=words) as caught:
        finetune(str(tmp_path / "photos"), tmp_path / "out", TINY, SilentProgress())
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_an_interrupt_ends_the_child_and_leaves_nothing(tmp_path: Path) -> None:
    class Impatient(SilentProgress):
        def stage(self, name: str, n_photos: int | None = None) -> None:
            if name == "load network":
                raise KeyboardInterrupt

    paint_photos(tmp_path / "photos", 3)
    before = set(psutil.Process().children())
    with pytest.raises(KeyboardInterrupt):
        finetune(str(tmp_path / "photos"), tmp_path / "out", TINY, Impatient())
    assert set(psutil.Process().children()) <= before
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_child_that_crashes_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(VergerError, match=r"^verger.absent failed: .*No module named verger.absent$"):
        run_keras_process("verger.absent", "jax", TINY, tmp_path, SilentProgress())


def test_without_a_backend_that_trains_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"pip install 'verger\[train\]'"):
        finetune(str(tmp_path), tmp_path / "out", TINY, SilentProgress())


@pytest.mark.parametrize(
    ("wrong", "key", "valid"),
    [
        ({"model": "LeNet"}, "model", "MobileNetV2"),
        ({"model": "fruitnet"}, "model", "MobileNetV2"),
        ({"model": "EfficientNetLite2"}, "model", "MobileNetV2"),
        ({"model": "own.keras"}, "model", "MobileNetV2"),
        ({"weights": "noisy"}, "weights", "random:SEED"),
        ({"weights": "own.keras"}, "weights", "a .h5 file"),
        ({"head_epochs": 0, "epochs": 0}, "epochs", "1 or more"),
        ({"learning_rate": 0.0}, "learning_rate", "over 0"),
        ({"validation": 1.0}, "validation", "between 0 and 1"),
        ({"size_px": 16}, "size_px", "32 or more"),
        ({"unfreeze": 1.5}, "unfreeze", "from 0 to 1"),
        ({"unfreeze": 0, "head_epochs": 0}, "unfreeze", "over 0 if"),
        ({"batch_size": 0}, "batch_size", "1 or more"),
    ],
)
def test_options_that_make_no_sense_name_the_valid_ones(wrong: dict[str, object], key: str, valid: str) -> None:
    with pytest.raises(SettingsError, match=valid) as caught:
        FinetuneOptions(**wrong)  # type: ignore[arg-type]
    assert caught.value.key == key
    assert str(caught.value).startswith(f"{key} = {wrong[key]!r}")


def split(names: list[str], share: float = 0.2, seed: int = 0) -> list[str]:
    """Return the names held out; the label is what stands before the slash."""
    paths = [f"file:/photos/{name}" for name in names]
    held_out = split_photos(paths, [name.split("/")[0] for name in names], share=share, seed=seed)
    return [name for name, is_held_out in zip(names, held_out, strict=True) if is_held_out]


@pytest.mark.parametrize("seed", range(5))
def test_no_film_straddles_the_split(seed: int) -> None:
    sizes = {"": 30, "r_": 20, "r2_": 12, "r3_": 8}
    names = [f"Kiwi/{film}{i}_100.jpg" for film, n in sizes.items() for i in range(n)]
    films = {name: name.rpartition("/")[2].rpartition("_")[0].rstrip("0123456789") for name in names}
    held_out = set(split(names, seed=seed))
    straddling = {films[name] for name in held_out} & {films[name] for name in names if name not in held_out}
    assert held_out and not straddling


def test_the_only_film_of_a_label_is_cut_where_it_ends() -> None:
    names = [f"Fig/{i}_100.jpg" for i in (11, 2, 9, 10, 1, 8, 3, 7, 4, 12)]
    assert sorted(split(names)) == ["Fig/11_100.jpg", "Fig/12_100.jpg"]


def test_a_share_of_each_label_is_held_out_the_same_for_the_same_seed() -> None:
    names = [f"{label}/photo-{i:c}.jpg" for label, n in (("a", 20), ("b", 5), ("c", 1)) for i in range(97, 97 + n)]
    held_out = split(names)
    assert [sum(name.startswith(label) for name in held_out) for label in "abc"] == [4, 1, 0]
    assert held_out == split(names) != split(names, seed=1)


def test_two_large_films_are_not_mixed_for_the_share() -> None:
    names = [f"Fig/{film}{i}_100.jpg" for film in ("", "r_") for i in range(10)]
    assert len(split(names)) == 10


def test_views_differ_and_depend_on_the_generator_alone() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (37, 37, 3), np.uint8)
    first, second, other = (augment(photo, 32, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (32, 32, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    views = [augment(np.full((37, 37, 3), 128, np.uint8), 32, np.random.default_rng(seed)) for seed in range(50)]
    assert abs(np.mean(views) - 128) < 12 and np.std([view.mean() for view in views]) > 5


def test_the_preprocessing_layer_does_what_keras_does() -> None:
    env = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", COMPARE_PREPROCESSING], env=env, check=True)
