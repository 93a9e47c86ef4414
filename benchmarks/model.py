"""make bench-model: how good and how fast fruitnet is beside ImageNet's MobileNetV2.

Each with the same classifier recipe, `verger train`. Shop photos are judged twice: trained on the training
split and asked about the validation split, taken in other shops; and cross-validated over both, where photos
of the same shelf stand on both sides and flatter. The fruitnet that ships has seen the training split, so for
the cross-validation five others are asked, each of which has not seen the photos it is asked about
(train/folds). Prints a table, and leaves it in benchmarks/model.md.
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
N_KERNEL_PHOTOS = 16_480  # of fewer, a quick network's are done before the clock of the cores has settled

N_VIEWS = 12
_JOINED = f"tuned/model.keras+{FRUITNET}"
_BEST_CHAIN = (
    f"verger augment grocery/train views --per-photo {N_VIEWS}",
    "verger finetune views tuned --head-epochs 1 --epochs 4 --unfreeze 0.5",
    f"verger features views taught --model {_JOINED}",
    "verger train taught classifier --group photo",
    f"verger features grocery/val asked --model {_JOINED} --views 5",
    "verger evaluate asked judged --classifier classifier",
)
_N_SHELVES = 5
_SHELF = r"regex:/shelf(\d+)-[^/]+$"
_UNKNOWN = ("not measured: train/folds is not there",) * 3

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
    """The kernel and the whole chain from cold, the two networks in turn."""
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
    """Fruits-360: trained on the training split, asked about the test split."""
    photos = list(read_archive(DATA / "fruits360-test.tar"))
    _featurize(photos, prepare_network(NetworkSpec(model)), folder / "test")
    told = _train_and_ask(folder / "training", folder / "test", folder / "fruits")
    return {"Fruits-360 test: accuracy": _say(told), "Fruits-360 test: ECE": f"{told['ece']:.1%}"}


def _shop(model: str, folder: Path) -> Row:
    """Shop photos: the validation split alone, and folds over all."""
    photos = _on_shelves(list(read_archive(DATA / "grocery-trainval.tar")))
    network = prepare_network(NetworkSpec(model))
    is_val = np.array(["/val/" in path for path, _ in photos])
    alone = _split(photos, is_val, network, folder / "val")
    row = {
        "shop photos, other shops (val alone): accuracy": _say(alone),
        "shop photos, other shops: top-3": f"{alone['top3']:.1%}",
        "shop photos, other shops: ECE": f"{alone['ece']:.1%}",
    }
    parts = _cross_validated(model, photos, folder)
    told = (_say(_pooled(parts)), f"{_mean(parts, 'top3'):.1%}", f"{_pooled_ece(parts):.1%}") if parts else _UNKNOWN
    what = ("(train + val): accuracy", "top-3", "ECE")
    return row | {f"shop photos, cross-validated {name}": value for name, value in zip(what, told, strict=True)}


def _on_shelves(photos: list[Photo]) -> list[Photo]:
    """Name neighbours alike: photos of one shelf must not stand on both sides when `verger train` calibrates."""
    shelves = deal_folds([path for path, _ in photos], _N_SHELVES)
    return [
        (f"{Path(path).parent}/shelf{shelf}-{Path(path).name}", data)
        for (path, data), shelf in zip(photos, shelves, strict=True)
    ]


def _best_chain(folder: Path) -> str:
    """The best for shop photos: MobileNetV2 tuned on views and fruitnet joined, five looks at a photo.

    Tuning takes a quarter of an hour by TensorFlow where that is installed, else an hour.
    """
    with tarfile.open(DATA / "grocery-trainval.tar") as archive:
        archive.extractall(folder, filter="data")
    for command in _BEST_CHAIN:
        _run("-m", *command.split(), cwd=folder)
    told = json.loads((folder / "judged" / "evaluation.json").read_text())
    chance = f"by chance alone {told['ece_by_chance']:.1%}"
    found = f"{_say(told)}, top-3 {told['top3']:.1%}, ECE {told['ece']:.1%} ({chance})"
    commands = "\n".join(f"    {command}" for command in _BEST_CHAIN)
    return f"\nThe best chain for shop photos, asked about other shops (val alone): {found}. It is\n\n{commands}\n"


def _cross_validated(model: str, photos: list[Photo], folder: Path) -> list[dict[str, Any]]:
    """Return the evaluation of each fold; nothing where fruitnet's own folds are not trained."""
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


def _split(photos: list[Photo], is_asked: Any, network: Network, folder: Path) -> dict[str, Any]:
    for name, kept in (("taught", ~is_asked), ("asked", is_asked)):
        _featurize((photos[i] for i in np.flatnonzero(kept)), network, folder / name)
    return _train_and_ask(folder / "taught", folder / "asked", folder, _SHELF)


def _featurize(photos: Iterable[Photo], network: Network, folder: Path) -> None:
    """Write a features result by the chain's kernel."""
    extractor = Extractor(network)
    rows = (
        (path, Path(path).parent.name, featurize_photo(data, extractor, max_pixels=DEFAULT_MAX_PIXELS).features)
        for path, data in photos
    )
    write_result(rows, network.model, folder)


def _train_and_ask(taught: Path, asked: Path, folder: Path, group: str = "film") -> dict[str, Any]:
    """Return what `verger evaluate` says of what `verger train` makes."""
    classifier, judged = folder / "classifier", folder / "judged"
    _run("-m", "verger", "train", str(taught), str(classifier), "--no-report", "--group", group)
    _run("-m", "verger", "evaluate", str(asked), str(judged), "--classifier", str(classifier), "--no-report")
    told: dict[str, Any] = json.loads((judged / "evaluation.json").read_text())
    print(f"{folder}: {told['accuracy']:.1%}", file=sys.stderr, flush=True)
    return told


def _pooled(parts: list[dict[str, Any]]) -> dict[str, Any]:
    n = sum(part["n_photos"] for part in parts)
    n_right = round(sum(part["accuracy"] * part["n_photos"] for part in parts))
    return {"n_photos": n, "accuracy": n_right / n, "accuracy_95": wilson(n_right, n)}


def _pooled_ece(parts: list[dict[str, Any]]) -> float:
    """The calibration error of all folds' answers together: of few answers it is mostly noise."""
    bins: dict[int, list[tuple[int, float, float]]] = defaultdict(list)
    for row in (row for part in parts for row in part["reliability"]):
        number = min(int(row["sureness"] * N_BINS), N_BINS - 1)
        bins[number].append((row["n_photos"], row["sureness"], row["accuracy"]))
    gaps = [abs(sum(n * (sure - right) for n, sure, right in rows)) for rows in bins.values()]
    return float(sum(gaps) / sum(part["n_photos"] for part in parts))


def _mean(parts: list[dict[str, Any]], key: str) -> float:
    return float(np.average([part[key] for part in parts], weights=[part["n_photos"] for part in parts]))


def _say(told: dict[str, Any]) -> str:
    low, high = told["accuracy_95"]
    return f"{told['accuracy']:.1%} ({low:.1%} to {high:.1%})"


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
        f"Speeds: medians of {N_ROUNDS} rounds in turn; trust the ratios. Accuracy: with 95 % intervals.",
        "",
        f"| | {' | '.join(MODELS)} |",
        "|---|---|---|",
    ]
    rows = [f"| {what} | {' | '.join(found[model][what] for model in MODELS)} |" for what in found[FRUITNET]]
    return "\n".join([*head, *rows]) + "\n"


if __name__ == "__main__":
    main()
