"""Train the classifier that is bundled with fruitnet.

    python -m train.classifier WORK [--data ../shared/data]

Its labels are taxa (verger.kernel.classifier.taxonomy). It is trained with `verger train` on Fruits-360's
training split, the shop photos' training split, renders, and the augmented views that fruitnet was trained on.
With these views it recognises fruits on other backgrounds even if there are only photos on white.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from train.fruitnet import Photos, read_all
from train.photos import Photo, deal_folds
from train.pool import NO_LABEL, load_pool
from train.result import write_result
from verger.kernel.classifier.classifier import FILE_NAME, load_classifier
from verger.kernel.classifier.folds import FRAME_PATTERN, group_of
from verger.kernel.classifier.taxonomy import taxon_of
from verger.kernel.networks.catalog import FRUITNET, NetworkSpec
from verger.kernel.networks.inference import Extractor
from verger.kernel.networks.network import prepare_network

MODELS = Path(__file__).parent.parent / "src" / "verger" / "models"
N_VIEWS = 12_000
_RENDER = "render "
_N_SHELVES = 5
# From 0.00003 to 0.003 the cross-validated accuracy stays within its standard error (80.5 to 80.6 %), and the log
# loss falls from 0.99 to 0.76; at 0.03 both are worse.
_OPTIONS = ("--regularisation", "0.003", "--accuracy", "0.9", "--group", "regex:^([^/]+)/")

Pixels = Any
Example = tuple[str, str, Pixels]  # path, taxon, pixels


def main() -> None:
    """Parse the command line, train, and put the classifier into the package."""
    parser = argparse.ArgumentParser(prog="python -m train.classifier")
    parser.add_argument("work", type=Path, help="the WORK folder of train.fruitnet")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the archives")
    chosen = parser.parse_args()
    photos = read_all(chosen.data)
    result, out = chosen.work / "classifier-features", chosen.work / "classifier"
    write_features([*whole_photos(photos), *pool_views(photos, chosen.work / "pool")], result)
    arguments = ("-m", "verger", "train", str(result), str(out), "--overwrite", *_OPTIONS)
    subprocess.run([sys.executable, *arguments], check=True)
    trained = load_classifier(out)
    replace(trained, about=trained.about | {"taxonomy": True}).save(MODELS / FRUITNET / FILE_NAME)


def groups_of(photos: list[Photo]) -> list[str]:
    """Return each photo's group, which cross-validation must not split: its film, or its shelf (see deal_folds)."""
    shelves = deal_folds([photo.path for photo in photos], _N_SHELVES)
    films = (group_of(photo.path, FRAME_PATTERN) for photo in photos)
    return [f"shelf{shelf}" if film is None else f"film{film}" for film, shelf in zip(films, shelves, strict=True)]


def whole_photos(photos: Photos) -> Iterator[Example]:
    """Yield every photo on white, every render, and every shop photo for training unchanged."""
    fruits, shop = photos.subjects.fruits, photos.shop
    for photo, group in zip(fruits + shop, groups_of(fruits) + groups_of(shop), strict=True):
        label = taxon_name(photo.label, is_shop=photo.path.startswith("grocery"))
        yield f"{group}/{photo.path}", label, photo.pixels


def pool_views(photos: Photos, folder: Path) -> Iterator[Example]:
    """Yield labelled views of a pool, each in the group of its shop photo's shelf, or in the group `film`."""
    pool = load_pool(folder)
    shelves = groups_of(photos.shop)
    labelled = np.flatnonzero((pool.fruit != NO_LABEL) | (pool.shop != NO_LABEL))
    for row in np.random.default_rng(0).choice(labelled, min(N_VIEWS, len(labelled)), replace=False):
        is_shop = bool(pool.shop[row] != NO_LABEL)
        label = photos.shop_names[pool.shop[row]] if is_shop else photos.fruit_names[pool.fruit[row]]
        group = shelves[pool.scene[row]] if is_shop else "film"
        yield f"{group}/{row}", taxon_name(label, is_shop=is_shop), pool.views[row]


def taxon_name(label: str, *, is_shop: bool) -> str:
    """Return the name of the taxon for a label of the training photos."""
    is_render = label.startswith(_RENDER)
    source = "grocery" if is_shop else "render" if is_render else "fruits360"
    taxon = taxon_of(label.removeprefix(_RENDER), source)
    assert taxon is not None, label
    return taxon.name


def write_features(examples: Iterable[Example], folder: Path) -> None:
    """Write fruitnet's features of these pictures, in the format of `verger features`."""
    spec = NetworkSpec(FRUITNET)
    extractor = Extractor(prepare_network(spec))
    shutil.rmtree(folder, ignore_errors=True)
    rows = ((path, label, extractor(pixels)) for path, label, pixels in examples)
    write_result(rows, spec, folder)


if __name__ == "__main__":
    main()
