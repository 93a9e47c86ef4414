"""The examples of the bundled classifiers: photos and altered photos, with their labels and feature vectors."""

from __future__ import annotations

import io
import multiprocessing
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from train.photos import is_held_out, read_archive, read_authors
from train.views import scene_crop
from verger.kernel.classifier.levels import NOT_A_FRUIT
from verger.kernel.classifier.taxonomy import taxon_of
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.inference import Extractor
from verger.kernel.networks.network import Network, prepare_network
from verger.kernel.networks.view_sets import WHOLE
from verger.sample import SampleOptions, render_sample

Floats = npt.NDArray[np.float32]
RGB = npt.NDArray[np.uint8]

VIEWS = "crops"  # of photos; an altered crop is a view of its own
_N_CROPS = 4  # altered crops of each photo of a scene
_EVERY = 4  # of the frames of a film: neighbours are nearly equal
_RENDERS_PER_KIND, _RENDERS_SEED = 20, 1000  # `verger sample` starts at seed 0
_CROP_PX, _SHORT_SIDE_PX = 300, 500
_SMALLEST_CROP = 0.15


@dataclass(frozen=True)
class Example:
    """A photo, or what is made of it.

    source: fruits360, grocery, flickr, things (Flickr photos without fruit) or render.
    kind: "photo" or "crop" (an altered crop).
    label: the name of the taxon, or NOT_A_FRUIT. author: of Flickr photos. thing: what a photo without fruit shows.
    split: the folder of the data set, such as train or val.
    """

    path: str
    source: str
    label: str
    split: str = ""
    author: str = ""
    thing: str = ""
    kind: str = "photo"
    number: int = 0


@dataclass(frozen=True)
class Table:
    """N examples and their (N, n_features) vectors."""

    examples: list[Example]
    vectors: Floats

    def column(self, name: str) -> npt.NDArray[np.str_]:
        """Return a field of all examples."""
        return np.array([getattr(example, name) for example in self.examples])


def read_sources(data: Path) -> Iterator[tuple[Example, bytes]]:
    """Yield all photos of the data sets and of `verger sample`, with their bytes."""
    authors = read_authors(data / "snacks.tar")
    for archive in ("fruits360-training", "fruits360-test", "grocery-trainval", "snacks"):
        for number, (path, content) in enumerate(read_archive(data / f"{archive}.tar")):
            if not archive.startswith("fruits360") or number % _EVERY == 0:
                yield _describe(path, authors), content
    with tempfile.TemporaryDirectory() as folder:
        render_sample(Path(folder), SampleOptions(per_kind=_RENDERS_PER_KIND, seed=_RENDERS_SEED))
        for file in sorted(Path(folder).rglob("*.jpg")):
            label = _taxon_name(file.parent.name, "render")
            yield Example(f"render/{file.relative_to(folder)}", "render", label), file.read_bytes()


def _describe(path: str, authors: dict[str, str]) -> Example:
    archive, split, *_, folder, file = path.split("/")
    if archive != "snacks":
        return Example(path, archive, _taxon_name(folder, archive), split)
    author = authors[Path(file).stem]
    if split == "fruit":
        return Example(path, "flickr", _taxon_name(folder, archive), author=author)
    return Example(path, "things", NOT_A_FRUIT, author=author, thing=folder)


def _taxon_name(label: str, source: str) -> str:
    taxon = taxon_of(label, source)
    assert taxon is not None, label
    return taxon.name


def compute_table(data: Path, model: str, cache: Path) -> Table:
    """Return all examples with the vectors of a network; read them from `cache` if this file exists."""
    photos = dict(read_sources(data))
    examples = [*photos, *_altered(photos)]
    if not cache.is_file():
        np.save(cache, compute_vectors(examples, photos, model))
    vectors = np.load(cache)
    if len(vectors) != len(examples):
        raise SystemExit(f"{cache} has vectors of other examples: remove this file")
    return Table(examples, vectors)


def _altered(photos: Iterable[Example]) -> Iterator[Example]:
    """Yield the altered crops of all photos that are not on white."""
    for photo in photos:
        if photo.source in ("grocery", "flickr", "things"):
            yield from (replace(photo, kind="crop", number=number) for number in range(_N_CROPS))


@dataclass(frozen=True)
class _Worker:
    """What a process needs: the bytes of the photos, and an extractor for each set of views."""

    photos: dict[Example, bytes]
    by_views: dict[str, Extractor]


_worker: _Worker


def compute_vectors(examples: Sequence[Example], photos: dict[Example, bytes], model: str) -> Floats:
    """Return the (n, n_features) vectors of examples."""
    networks = {views: prepare_network(NetworkSpec(model, views=views)) for views in (VIEWS, WHOLE)}
    fork = multiprocessing.get_context("fork")  # shares the photos, without a copy
    with ProcessPoolExecutor(os.cpu_count(), fork, _start, (photos, networks)) as workers:
        vectors = []
        for done, vector in enumerate(workers.map(_compute, examples, chunksize=32), 1):
            vectors.append(vector)
            if done % 500 == 0:
                print(f"\r{model}: vectors {done:,} of {len(examples):,}", end="", flush=True)
    print()
    return np.stack(vectors)


def _start(photos: dict[Example, bytes], networks: dict[str, Network]) -> None:
    global _worker
    by_views = {views: Extractor(replace(network, batch_size=1)) for views, network in networks.items()}
    _worker = _Worker(photos, by_views)


def _compute(example: Example) -> Floats:
    rng = np.random.default_rng(zlib.crc32(f"{example.path} {example.kind} {example.number}".encode()))
    if example.kind == "photo":
        image = Image.open(io.BytesIO(_worker.photos[example])).convert("RGB")
        return _worker.by_views[VIEWS].featurize(image)
    original = _worker.photos[replace(example, kind="photo", number=0)]
    view = scene_crop(_pixels(original), rng, size_px=_CROP_PX, smallest=_SMALLEST_CROP)
    return _worker.by_views[WHOLE](view)


def _pixels(content: bytes) -> RGB:
    image = Image.open(io.BytesIO(content)).convert("RGB")
    shrink = _SHORT_SIDE_PX / min(image.size)
    if shrink < 1:
        image = image.resize((round(image.width * shrink), round(image.height * shrink)), Image.Resampling.BICUBIC)
    return np.asarray(image)


def is_for_evaluation(example: Example) -> bool:
    """Return whether the bundled fruitnet was never trained on this photo: other shops, and some authors."""
    return (example.source == "grocery" and example.split == "val") or (
        bool(example.author) and is_held_out(example.author)
    )
