"""make bench-model: accuracy and speed of the bundled networks and of ImageNet's MobileNetV2.

All use the same classifier recipe, `verger train --classifier lda`, with whole photos and with the views `crops`.
Accuracy is measured on sources on which neither fruitnet nor the classifier was trained: shop photos of the
validation split, which was taken in other shops, and Flickr photos of the held-out authors. The bundled classifiers
are trained with more photos; train/log has their figures. Prints a table and writes it to benchmarks/model.md.
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
MODELS = (NetworkSpec.model, FRUITNET, "EfficientNetLite2")
VIEWS = ("whole", "crops")
N_ROUNDS = 3
N_KERNEL_PHOTOS = 1_000
_EVERY = 4  # of the frames of Fruits-360: neighbours are nearly equal
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
            found[model] |= _fruits(NetworkSpec(model), folder / model)
            for views in VIEWS:
                spec = NetworkSpec(model, views=views)
                found[model] |= _shop(spec, folder / model / views) | _flickr(spec, folder / model / views)
            found[model]["bytes in the package"] = f"{_package_bytes(model):,}"
    table = _table(found)
    RESULTS.write_text(table)
    print(table)


def _speeds(found: dict[str, Row], folder: Path) -> None:
    """Measure decoding and inference, alternating between the networks and the views."""
    with tarfile.open(DATA / "fruits360-test.tar") as archive:
        archive.extractall(folder, filter="data")
    photos = str(folder / "fruits360" / "Test")
    n_cores = len(os.sched_getaffinity(0))
    choices = [(model, views) for views in VIEWS for model in MODELS]
    speeds: dict[tuple[str, str], list[float]] = {choice: [] for choice in choices}
    for _ in range(N_ROUNDS):
        for choice in choices:
            words = ("-m", "benchmarks.kernel", photos, str(N_KERNEL_PHOTOS), *choice)
            speeds[choice].append(float(_run(*words).split()[0]) / n_cores)
    for model, views in choices:
        ratios = [a / b for a, b in zip(speeds[model, views], speeds[MODELS[0], views], strict=True)]
        times = f" ({statistics.median(ratios):.1f} times)" if model != MODELS[0] else ""
        what = f"decode + inference, img/s a core, {views}"
        found[model][what] = f"{statistics.median(speeds[model, views]):,.0f}{times}"


def _fruits(spec: NetworkSpec, folder: Path) -> Row:
    """Train on Fruits-360's training split and evaluate on its test split, with whole photos."""
    photos = [photo for split in ("training", "test") for photo in read_archive(DATA / f"fruits360-{split}.tar")]
    photos = photos[::_EVERY]
    is_test = np.array(["/Test/" in path for path, _ in photos])
    evaluation = _split(photos, is_test, spec, folder / "fruits", "film")
    return {"Fruits-360 test, whole: accuracy": _format_accuracy(evaluation)}


def _shop(spec: NetworkSpec, folder: Path) -> Row:
    """Train on the training split of the shop photos, and evaluate on the validation split."""
    photos = _on_shelves(list(read_archive(DATA / "grocery-trainval.tar")))
    is_val = np.array(["/val/" in path for path, _ in photos])
    evaluation = _split(photos, is_val, spec, folder / "shop", _SHELF)
    name = f"other shops, {evaluation['n_photos']} photos, 28 labels, {spec.views}"
    return {
        f"{name}: accuracy": _format_accuracy(evaluation),
        f"{name}: top-3": f"{evaluation['top3']:.1%}",
    }


def _flickr(spec: NetworkSpec, folder: Path) -> Row:
    """Train on the species of the Flickr photos of some authors, and evaluate on the held-out authors."""
    authors = read_authors(DATA / "snacks.tar")
    photos = [photo for photo in read_archive(DATA / "snacks.tar") if "/fruit/" in photo[0]]
    is_test = np.array([is_held_out(authors[Path(path).stem]) for path, _ in photos])
    evaluation = _split(photos, is_test, spec, folder / "flickr", "none")
    name = f"other Flickr authors, {evaluation['n_photos']} photos, 7 species, {spec.views}"
    return {f"{name}: accuracy": _format_accuracy(evaluation)}


def _on_shelves(photos: list[Photo]) -> list[Photo]:
    """Put the shelf into each path, so that `verger train` calibrates without splitting a shelf's photos."""
    shelves = deal_folds([path for path, _ in photos], _N_SHELVES)
    return [
        (f"{Path(path).parent}/shelf{shelf}-{Path(path).name}", data)
        for (path, data), shelf in zip(photos, shelves, strict=True)
    ]


def _split(photos: list[Photo], is_test: Any, spec: NetworkSpec, folder: Path, group: str) -> dict[str, Any]:
    """Train on some photos and evaluate on the others; return the evaluation of `verger evaluate`."""
    for name, is_used in (("training", ~is_test), ("validation", is_test)):
        _featurize((photos[i] for i in np.flatnonzero(is_used)), spec, folder / name)
    classifier, out = folder / "classifier", folder / "evaluation"
    flags = ("--classifier", "lda", "--no-report", "--group", group)
    _run("-m", "verger", "train", str(folder / "training"), str(classifier), *flags)
    words = ("--classifier", str(classifier), "--no-report")
    _run("-m", "verger", "evaluate", str(folder / "validation"), str(out), *words)
    evaluation: dict[str, Any] = json.loads((out / "evaluation.json").read_text())
    print(f"{spec.model}, {spec.views}, {folder.name}: {evaluation['accuracy']:.1%}", file=sys.stderr, flush=True)
    return evaluation


def _featurize(photos: Iterable[Photo], spec: NetworkSpec, folder: Path) -> None:
    """Write a features result with the chain's kernel."""
    extractor = Extractor(prepare_network(spec))
    rows = (
        (path, Path(path).parent.name, featurize_photo(data, extractor, max_pixels=DEFAULT_MAX_PIXELS).features)
        for path, data in photos
    )
    write_result(rows, spec, folder)


def _format_accuracy(evaluation: dict[str, Any]) -> str:
    low, high = evaluation["accuracy_95"]
    return f"{evaluation['accuracy']:.1%} ({low:.1%} to {high:.1%})"


def _package_bytes(model: str) -> int:
    if model != FRUITNET:
        return 0
    return sum(file.stat().st_size for file in Path(str(resources.files("verger.models") / model)).iterdir())


def _run(*words: str) -> str:
    return subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True).stdout


def _table(found: dict[str, Row]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in software_versions().items())
    cores = f"{len(os.sched_getaffinity(0))} cores of {cpu_name()}"
    head = [
        f"Measured {time.strftime('%Y-%m-%d')} on {cores}; {versions}.",
        f"Speeds: medians of {N_ROUNDS} alternating rounds; trust the ratios. Accuracy: with 95 % intervals.",
        "",
        f"| | {' | '.join(MODELS)} |",
        f"|---{'|---' * len(MODELS)}|",
    ]
    rows = [f"| {what} | {' | '.join(found[model][what] for model in MODELS)} |" for what in found[FRUITNET]]
    return "\n".join([*head, *rows]) + "\n"


if __name__ == "__main__":
    main()
