"""make bench-model: accuracy and speed of fruitnet compared with ImageNet's MobileNetV2.

Both use the same classifier recipe, `verger train`. Shop photos are evaluated twice: trained on the training
split and evaluated on the validation split, which was taken in other shops; and cross-validated over both
splits, where photos of one shelf are on both sides, which is optimistic. The bundled fruitnet was trained on
the training split, so the cross-validation uses the networks of train/folds, each trained without the photos it
is evaluated on. Prints a table and writes it to benchmarks/model.md.
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
from collections import defaultdict
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from train.photos import N_FOLDS, deal_folds, read_archive
from train.result import write_result

from benchmarks.measure import cpu_name
from benchmarks.photos import DATA
from verger.kernel.classifier.metrics import N_BINS, wilson
from verger.kernel.decode import DEFAULT_MAX_PIXELS
from verger.kernel.networks.catalog import FRUITNET, NetworkSpec
from verger.kernel.networks.inference import Extractor, featurize_photo
from verger.kernel.networks.network import Network, imagenet_file, prepare_network, read_network
from verger.storage.manifest import software_versions

RESULTS = Path(__file__).with_name("model.md")
FOLDS = Path(__file__).parents[1] / "train" / "folds"
MODELS = (NetworkSpec.model, FRUITNET)
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
_UNKNOWN = ("not measured: train/folds does not exist",) * 3

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
            found[model] |= _fruits(model, folder / model) | _shop(model, folder / model)
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
    _featurize(photos, prepare_network(NetworkSpec(model)), folder / "test")
    evaluation = _train_and_evaluate(folder / "training", folder / "test", folder / "fruits")
    return {
        "Fruits-360 test: accuracy": _format_accuracy(evaluation),
        "Fruits-360 test: ECE": f"{evaluation['ece']:.1%}",
    }


def _shop(model: str, folder: Path) -> Row:
    """Evaluate shop photos: on the validation split alone, and cross-validated over all."""
    photos = _on_shelves(list(read_archive(DATA / "grocery-trainval.tar")))
    network = prepare_network(NetworkSpec(model))
    is_val = np.array(["/val/" in path for path, _ in photos])
    alone = _split(photos, is_val, network, folder / "val")
    row = {
        "shop photos, other shops (val alone): accuracy": _format_accuracy(alone),
        "shop photos, other shops: top-3": f"{alone['top3']:.1%}",
        "shop photos, other shops: ECE": f"{alone['ece']:.1%}",
    }
    parts = _cross_validated(model, photos, folder)
    values = _UNKNOWN
    if parts:
        accuracy = _format_accuracy(_pooled(parts))
        values = (accuracy, f"{_mean(parts, 'top3'):.1%}", f"{_pooled_ece(parts):.1%}")
    names = ("(train + val): accuracy", "top-3", "ECE")
    return row | {f"shop photos, cross-validated {name}": value for name, value in zip(names, values, strict=True)}


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


def _cross_validated(model: str, photos: list[Photo], folder: Path) -> list[dict[str, Any]]:
    """Return the evaluation of each fold; none if fruitnet's fold networks are not trained."""
    if model == FRUITNET and not FOLDS.is_dir():
        return []
    fold = deal_folds([path for path, _ in photos])
    return [
        _split(photos, fold == number, _network(model, number), folder / f"fold-{number}")
        for number in range(N_FOLDS)
    ]


def _network(model: str, fold: int) -> Network:
    if model != FRUITNET:
        return prepare_network(NetworkSpec(model))
    return read_network(FOLDS / str(fold), FRUITNET, "f32")


def _split(photos: list[Photo], is_held_out: Any, network: Network, folder: Path) -> dict[str, Any]:
    for name, is_used in (("training", ~is_held_out), ("validation", is_held_out)):
        _featurize((photos[i] for i in np.flatnonzero(is_used)), network, folder / name)
    return _train_and_evaluate(folder / "training", folder / "validation", folder, _SHELF)


def _featurize(photos: Iterable[Photo], network: Network, folder: Path) -> None:
    """Write a features result with the chain's kernel."""
    extractor = Extractor(network)
    rows = (
        (path, Path(path).parent.name, featurize_photo(data, extractor, max_pixels=DEFAULT_MAX_PIXELS).features)
        for path, data in photos
    )
    write_result(rows, network.model, folder)


def _train_and_evaluate(training: Path, validation: Path, folder: Path, group: str = "film") -> dict[str, Any]:
    """Return the result of `verger evaluate` with a classifier of `verger train`."""
    classifier, out = folder / "classifier", folder / "evaluation"
    _run("-m", "verger", "train", str(training), str(classifier), "--no-report", "--group", group)
    _run("-m", "verger", "evaluate", str(validation), str(out), "--classifier", str(classifier), "--no-report")
    evaluation: dict[str, Any] = json.loads((out / "evaluation.json").read_text())
    print(f"{folder}: {evaluation['accuracy']:.1%}", file=sys.stderr, flush=True)
    return evaluation


def _pooled(parts: list[dict[str, Any]]) -> dict[str, Any]:
    n = sum(part["n_photos"] for part in parts)
    n_right = round(sum(part["accuracy"] * part["n_photos"] for part in parts))
    return {"n_photos": n, "accuracy": n_right / n, "accuracy_95": wilson(n_right, n)}


def _pooled_ece(parts: list[dict[str, Any]]) -> float:
    """Return the calibration error over all folds together; with few answers it would be mostly noise."""
    bins: dict[int, list[tuple[int, float, float]]] = defaultdict(list)
    for row in (row for part in parts for row in part["reliability"]):
        number = min(int(row["sureness"] * N_BINS), N_BINS - 1)
        bins[number].append((row["n_photos"], row["sureness"], row["accuracy"]))
    gaps = [abs(sum(n * (sure - right) for n, sure, right in rows)) for rows in bins.values()]
    return float(sum(gaps) / sum(part["n_photos"] for part in parts))


def _mean(parts: list[dict[str, Any]], key: str) -> float:
    return float(np.average([part[key] for part in parts], weights=[part["n_photos"] for part in parts]))


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
