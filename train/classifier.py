"""Train the classifier that ships with fruitnet.

    python -m train.classifier WORK [--data ../shared/data]

It names taxa (verger.classify.taxonomy): Fruits-360's training split, the shop photos' training split, renders,
and the augmented views of both that fruitnet itself learnt from, so that fruits known only on white are known
on other backgrounds too. `verger train` does the rest.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from train.fruitnet import Photos, read_all
from train.pool import NO_LABEL, load_pool
from verger.classify.model import FILE_NAME, load_classifier
from verger.classify.taxonomy import taxon_of
from verger.featurize.catalog import FRUITNET, NetworkSpec
from verger.featurize.network import prepare_network
from verger.featurize.runtime import Extractor

MODELS = Path(__file__).parent.parent / "src" / "verger" / "models"
N_VIEWS = 6_000
_RENDER = "render "
_SCHEMA = pa.schema([("path", pa.string()), ("label", pa.string()), ("features", pa.list_(pa.float32()))])

Pixels = Any
Example = tuple[str, str, Pixels]  # path, taxon, pixels


def main() -> None:
    """Parse the command line, train, and put the classifier into the package."""
    parser = argparse.ArgumentParser(prog="python -m train.classifier")
    parser.add_argument("work", type=Path, help="the folder that train.fruitnet filled")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="where the archives lie")
    chosen = parser.parse_args()
    photos = read_all(chosen.data, None)
    result, out = chosen.work / "classifier-features", chosen.work / "classifier"
    write_features([*whole_photos(photos), *pool_views(photos, chosen.work / "all" / "pool")], result)
    words = ("-m", "verger", "train", str(result), str(out), "--overwrite", "--accuracy", "0.9")
    subprocess.run([sys.executable, *words], check=True)
    trained = load_classifier(out)
    replace(trained, about=trained.about | {"taxonomy": True}).save(MODELS / FRUITNET / FILE_NAME)


def whole_photos(photos: Photos) -> Iterator[Example]:
    """Yield every photo and render as it is."""
    for photo in photos.subjects.fruits + photos.subjects.shop:
        yield photo.path, taxon_name(photo.label, is_shop=photo.path.startswith("grocery")), photo.pixels


def pool_views(photos: Photos, folder: Path) -> Iterator[Example]:
    """Yield labelled views of a pool, each as if it were a photo of its label's first film."""
    pool = load_pool(folder)
    rows = np.flatnonzero((pool.fruit != NO_LABEL) | (pool.shop != NO_LABEL))
    for row in np.random.default_rng(0).choice(rows, min(N_VIEWS, len(rows)), replace=False):
        is_shop = pool.shop[row] != NO_LABEL
        label = photos.shop_names[pool.shop[row]] if is_shop else photos.fruit_names[pool.fruit[row]]
        yield f"pool/{label}/{row}_100.jpg", taxon_name(label, is_shop=bool(is_shop)), pool.views[row]


def taxon_name(label: str, *, is_shop: bool) -> str:
    """Return the taxon that a label of the training photos means."""
    is_render = label.startswith(_RENDER)
    source = "grocery" if is_shop else "render" if is_render else "fruits360"
    taxon = taxon_of(label.removeprefix(_RENDER), source)
    assert taxon is not None, label
    return taxon.name


def write_features(examples: Iterable[Example], folder: Path) -> None:
    """Write what `verger features` would of these pictures with fruitnet."""
    spec = NetworkSpec(FRUITNET)
    extractor = Extractor(prepare_network(spec))
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "features").mkdir(parents=True)
    rows = [
        {"path": path, "label": label, "features": extractor(resized(pixels, extractor.size_px))}
        for path, label, pixels in examples
    ]
    pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), folder / "features" / "part-0.parquet")
    (folder / "manifest.json").write_text(json.dumps({"network": {"spec": asdict(spec)}}))


def resized(pixels: Pixels, size_px: tuple[int, int]) -> Pixels:
    """Resize as the chain does."""
    return np.asarray(Image.fromarray(pixels).resize(size_px))


if __name__ == "__main__":
    main()
