"""make bench-model: accuracy and speed of fruitnet compared with ImageNet's MobileNetV2.

Both use the same classifier recipe, `verger train`. Accuracy is measured on sources that neither fruitnet nor the
classifier was trained on: shop photos of the validation split, which was taken in other shops; and Flickr photos of
the held-out authors. Each with one view per photo, and with the views `crops`. Prints a table and writes it to
benchmarks/model.md.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from train.photos import deal_folds, is_held_out, read_archive, read_authors
from train.result import write_result

from benchmarks.measure import cpu_name
from benchmarks.photos import DATA
from verger.kernel.decode import DEFAULT_MAX_PIXELS
from verger.kernel.networks.catalog import FRUITNET, NetworkSpec
from verger.kernel.networks.inference import Extractor, featurize_photo
from verger.kernel.networks.network import imagenet_file, prepare_network
from verger.storage.manifest import software_versions

RESULTS = Path(__file__).with_name("model.md")
MODELS = (NetworkSpec.model, FRUITNET)
VIEWS = ("whole", "crops")
N_ROUNDS = 3
N_KERNEL_PHOTOS = 16_480  # with fewer, a fast network ends before the cores' clock frequency has settled

N_VIEWS = 12
_JOINED = f"tuned/model.keras+{FRUITNET}"
_BEST_CHAIN = (
    f"verger augment grocery/train views --per-photo {N_VIEWS}",
    "verger finetune views tuned --head-epochs 1 --epochs 4 --unfreeze 0.5",
    f"verger features views training --model {_JOINED}",
    "verger train training classifier --group photo",
    f"verger features grocery/val validation --model {_JOINED} --views 5",
    "verger evaluate validation evaluation --classifier classifier",
)
_N_SHELVES = 5
_SHELF = r"regex:/shelf(\d+)-[^/]+$"

Photo = tuple[str, bytes]
Row = dict[str, str]


def main() -> None:
    """Measure everything and print the table."""
    if not imagenet_file().is_file():
        sys.exit("make bench-model needs MobileNetV2's ImageNet weights: see `verger doctor`")
    found: dict[str, Row] = {model: {} for model in MODELS}
    with tempfile.TemporaryDirectory(prefix="verger-bench-") as name:
        folder = Path(name)
        _speeds(found, folder)
        for model in MODELS:
            found[model] |= _fruits(model, folder / model)
            for views in VIEWS:
                spec = NetworkSpec(model, views=views)
                found[model] |= _shop(spec, folder / model / views) | _flickr(spec, folder / model / views)
            found[model]["bytes in the package"] = f"{_package_bytes(model):,}"
        best = _best_chain(folder / "best")
    table = _table(found) + best
    RESULTS.write_text(table)
    print(table)


def _speeds(found: dict[str, Row], folder: Path) -> None:
    """Measure the kernel and the whole chain from cold, alternating between the two networks."""
    with tarfile.open(DATA / "fruits360-training.tar") as archive:
        archive.extractall(folder, filter="data")
    photos = str(folder / "fruits360" / "Training")
    n_cores = len(os.sched_getaffinity(0))
    kernel: dict[str, list[float]] = {model: [] for model in MODELS}
    chain: dict[str, list[float]] = {model: [] for model in MODELS}
    for _ in range(N_ROUNDS):
        for model in MODELS:
            words = ["-m", "benchmarks.kernel", photos, str(N_KERNEL_PHOTOS), model]
            kernel[model].append(float(_run(*words).split()[0]) / n_cores)
            out = str(folder / model / "training")
            start = time.monotonic()
            _run("-m", "verger", "run", photos, out, "--model", model, "--overwrite", "--no-report")
            chain[model].append(16_480 / (time.monotonic() - start))
    for model in MODELS:
        for what, speeds in (
            ("decode + inference, img/s a core", kernel),
            ("`verger run` from cold, 16,480 photos, img/s", chain),
        ):
            ratios = [a / b for a, b in zip(speeds[model], speeds[MODELS[0]], strict=True)]
            times = f" ({statistics.median(ratios):.1f} times)" if model != MODELS[0] else ""
            found[model][what] = f"{statistics.median(speeds[model]):,.0f}{times}"


def _fruits(model: str, folder: Path) -> Row:
    """Train on Fruits-360's training split and evaluate on its test split."""
    photos = list(read_archive(DATA / "fruits360-test.tar"))
    _featurize(photos, NetworkSpec(model), folder / "test")
    evaluation = _train_and_evaluate(folder / "training", folder / "test", folder / "fruits")
    return {
        "Fruits-360 test: accuracy": _format_accuracy(evaluation),
        "Fruits-360 test: ECE": f"{evaluation['ece']:.1%}",
    }


def _shop(spec: NetworkSpec, folder: Path) -> Row:
    """Train on the training split of the shop photos, and evaluate on the validation split."""
    photos = _on_shelves(list(read_archive(DATA / "grocery-trainval.tar")))
    is_val = np.array(["/val/" in path for path, _ in photos])
    evaluation = _split(photos, is_val, spec, folder / "shop", _SHELF)
    name = f"shop photos, other shops, views {spec.views}"
    return {
        f"{name}: accuracy": _format_accuracy(evaluation),
        f"{name}: top-3": f"{evaluation['top3']:.1%}",
        f"{name}: ECE": f"{evaluation['ece']:.1%}",
    }


def _flickr(spec: NetworkSpec, folder: Path) -> Row:
    """Train on the species of the Flickr photos of some authors, and evaluate on the held-out authors."""
    authors = read_authors(DATA / "snacks.tar")
    photos = [photo for photo in read_archive(DATA / "snacks.tar") if "/fruit/" in photo[0]]
    is_test = np.array([is_held_out(authors[Path(path).stem]) for path, _ in photos])
    evaluation = _split(photos, is_test, spec, folder / "flickr", "none")
    name = f"Flickr, other authors, {evaluation['n_photos']} photos of 7 species, views {spec.views}"
    return {f"{name}: accuracy": _format_accuracy(evaluation)}


def _on_shelves(photos: list[Photo]) -> list[Photo]:
    """Put the shelf into each path, so that `verger train` calibrates without splitting a shelf's photos."""
    shelves = deal_folds([path for path, _ in photos], _N_SHELVES)
    return [
        (f"{Path(path).parent}/shelf{shelf}-{Path(path).name}", data)
        for (path, data), shelf in zip(photos, shelves, strict=True)
    ]


def _best_chain(folder: Path) -> str:
    """Evaluate the best chain for shop photos: fine-tuned MobileNetV2 joined with fruitnet, five views per photo.

    Fine-tuning takes 15 minutes if TensorFlow is installed, otherwise an hour.
    """
    with tarfile.open(DATA / "grocery-trainval.tar") as archive:
        archive.extractall(folder, filter="data")
    for command in _BEST_CHAIN:
        _run("-m", *command.split(), cwd=folder)
    evaluation = json.loads((folder / "evaluation" / "evaluation.json").read_text())
    ece = f"ECE {evaluation['ece']:.1%} (by chance alone {evaluation['ece_by_chance']:.1%})"
    result = f"{_format_accuracy(evaluation)}, top-3 {evaluation['top3']:.1%}, {ece}"
    commands = "\n".join(f"    {command}" for command in _BEST_CHAIN)
    return f"\nThe best chain for shop photos, on other shops (val alone): {result}. Its commands:\n\n{commands}\n"


def _split(photos: list[Photo], is_test: Any, spec: NetworkSpec, folder: Path, group: str) -> dict[str, Any]:
    """Train on some photos and evaluate on the others."""
    for name, is_used in (("training", ~is_test), ("validation", is_test)):
        _featurize((photos[i] for i in np.flatnonzero(is_used)), spec, folder / name)
    return _train_and_evaluate(folder / "training", folder / "validation", folder, group)


def _featurize(photos: Iterable[Photo], spec: NetworkSpec, folder: Path) -> None:
    """Write a features result with the chain's kernel."""
    extractor = Extractor(prepare_network(spec))
    rows = (
        (path, Path(path).parent.name, featurize_photo(data, extractor, max_pixels=DEFAULT_MAX_PIXELS).features)
        for path, data in photos
    )
    write_result(rows, spec, folder)


def _train_and_evaluate(training: Path, validation: Path, folder: Path, group: str = "film") -> dict[str, Any]:
    """Return the result of `verger evaluate` with a classifier of `verger train`."""
    classifier, out = folder / "classifier", folder / "evaluation"
    _run("-m", "verger", "train", str(training), str(classifier), "--no-report", "--group", group)
    _run("-m", "verger", "evaluate", str(validation), str(out), "--classifier", str(classifier), "--no-report")
    evaluation: dict[str, Any] = json.loads((out / "evaluation.json").read_text())
    print(f"{folder}: {evaluation['accuracy']:.1%}", file=sys.stderr, flush=True)
    return evaluation


def _format_accuracy(evaluation: dict[str, Any]) -> str:
    low, high = evaluation["accuracy_95"]
    return f"{evaluation['accuracy']:.1%} ({low:.1%} to {high:.1%})"


def _package_bytes(model: str) -> int:
    if model != FRUITNET:
        return 0
    return sum(file.stat().st_size for file in Path(str(resources.files("verger.models") / model)).iterdir())


def _run(*words: str, cwd: Path | None = None) -> str:
    return subprocess.run([sys.executable, *words], cwd=cwd, check=True, capture_output=True, text=True).stdout


def _table(found: dict[str, Row]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in software_versions().items())
    cores = f"{len(os.sched_getaffinity(0))} cores of {cpu_name()}"
    head = [
        f"Measured {time.strftime('%Y-%m-%d')} on {cores}; {versions}.",
        f"Speeds: medians of {N_ROUNDS} alternating rounds; trust the ratios. Accuracy: with 95 % intervals.",
        "",
        f"| | {' | '.join(MODELS)} |",
        "|---|---|---|",
    ]
    rows = [f"| {what} | {' | '.join(found[model][what] for model in MODELS)} |" for what in found[FRUITNET]]
    return "\n".join([*head, *rows]) + "\n"


if __name__ == "__main__":
    main()
