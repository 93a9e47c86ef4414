"""Train fruitnet from scratch.

    python -m train.fruitnet WORK [--data ../shared/data]

Views of fruits on white and of scenes are made once, with the teacher's vector of each, and stored in WORK; then
the student is trained on them. The validation split of the shop photos, and all Flickr photos of some authors, are
left out: they are for evaluation. Needs `pip install 'verger[train]'`, and the weights of the teacher.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from train.photos import Photo, is_held_out, read_authors, read_folder, read_photos
from train.pool import NO_LABEL, Labels, Mixture, Scenes, Subjects, make_pool
from verger.kernel.classifier.taxonomy import taxon_of
from verger.sample import SampleOptions, render_sample

if TYPE_CHECKING:
    from train.student import Shape

SEED = 1
_RENDERS_PER_KIND = 100
_RENDERS_SEED = 1000  # `verger sample` starts at 0, so the demo has different renders

VIEWS = Mixture(on_white=4_000, on_background=7_000, pile=4_000, crop=24_000, wild=12_000, mixed=21_000)
_NO_FRUIT = "other"
# How often a photo is chosen for a view: of shops, of fruit on Flickr, of other things on Flickr.
_WEIGHTS = {"grocery": 1.0, "fruit": 0.7, _NO_FRUIT: 0.5}


@dataclass(frozen=True)
class Photos:
    """The source photos of the views, and the names of their labels."""

    subjects: Subjects
    fruit_names: list[str]
    shop_names: list[str]
    species_names: list[str]

    @property
    def shop(self) -> list[Photo]:
        """The shop photos, which are the first scenes."""
        scenes = self.subjects.scenes
        return [photo for photo, label in zip(scenes.photos, scenes.shop_labels, strict=True) if label != NO_LABEL]

    @property
    def shape(self) -> Shape:
        """Sizes of the student's heads."""
        from train.student import Shape

        return Shape(len(self.fruit_names), len(self.shop_names), len(self.species_names))


def read_all(data: Path) -> Photos:
    """Read the photos for training from all three data sets."""
    fruits = read_photos(data / "fruits360-training.tar") + _renders()
    shop = [photo for photo in read_photos(data / "grocery-trainval.tar") if "/train/" in photo.path]
    authors = read_authors(data / "snacks.tar")
    flickr = [
        photo for photo in read_photos(data / "snacks.tar") if not is_held_out(authors[Path(photo.path).stem])
    ]
    fruit_names, fruit_labels = _numbered([photo.label for photo in fruits])
    shop_names, shop_labels = _numbered([photo.label for photo in shop])
    species_names, species = _numbered([species_of(photo) for photo in shop + flickr])
    weights = np.array([_WEIGHTS[_origin(photo)] for photo in shop + flickr])
    shop_labels = np.append(shop_labels, np.full(len(flickr), NO_LABEL))
    scenes = Scenes(shop + flickr, shop_labels, species, weights / weights.sum())
    return Photos(Subjects(fruits, fruit_labels, scenes), fruit_names, shop_names, species_names)


def species_of(photo: Photo) -> str:
    """Return the species of a shop or Flickr photo; "other" if it shows no fruit."""
    origin = _origin(photo)
    if origin != "grocery":
        return photo.label if origin == "fruit" else _NO_FRUIT
    taxon = taxon_of(photo.label, "grocery")
    assert taxon is not None, photo.label
    return taxon.species


def _origin(photo: Photo) -> str:
    """Return "grocery", or the folder of Flickr photos: "fruit" or "other"."""
    archive, folder, *_ = Path(photo.path).parts
    return folder if archive == "snacks" else archive


def _renders() -> list[Photo]:
    with tempfile.TemporaryDirectory() as folder:
        render_sample(Path(folder), SampleOptions(per_kind=_RENDERS_PER_KIND, seed=_RENDERS_SEED))
        return read_folder(Path(folder), "render ")


def _numbered(labels: list[str]) -> tuple[list[str], Labels]:
    names = sorted(set(labels))
    number = {name: i for i, name in enumerate(names)}
    return names, np.array([number[label] for label in labels], np.int64)


def train(work: Path, data: Path) -> None:
    """Make the views unless WORK contains them, train on them, and write WORK/student/backbone.npz."""
    import keras

    from train.student import build_student, fit, save_backbone

    photos = read_all(data)
    pool = make_pool(work / "pool", photos.subjects, VIEWS, SEED)
    keras.utils.set_random_seed(SEED)
    student = build_student(photos.shape)
    fit(student, pool, SEED, work / "student")
    save_backbone(student, pool, work / "student")


def main() -> None:
    """Parse the command line and train."""
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(prog="python -m train.fruitnet", description=summary, epilog=rest)
    parser.add_argument("work", type=Path, help="folder for pools, weights and logs: 9 GB")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the archives")
    chosen = parser.parse_args()
    os.environ["KERAS_BACKEND"] = "tensorflow"
    train(chosen.work, chosen.data)


if __name__ == "__main__":
    main()
