"""Train fruitnet from scratch.

    python -m train.fruitnet WORK [--data ../shared/data] [--fold 0]

Views of fruits on white and of shop photos are made once, with the teacher's vector of each, and stored in
WORK; then the student is trained on them. Needs `pip install 'verger[train]'`, and the weights of the teacher
(MobileNetV2 with ImageNet) in Keras' cache.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from train.photos import N_FOLDS, Photo, deal_folds, read_folder, read_photos
from train.pool import Mixture, Subjects, make_pool
from verger.sample import SampleOptions, render_sample

if TYPE_CHECKING:
    from train.student import Shape

SEED = 1
SIZE_PX = 96
_RENDERS_PER_KIND = 100
_RENDERS_SEED = 1000  # `verger sample` starts at 0, so the demo has different renders

VIEWS = Mixture(on_white=6_000, on_background=12_000, pile=8_000, shop=30_000, wild=26_000, mixed=38_000)
N_EPOCHS = 18
N_FOLD_EPOCHS = 5  # a fold's student is only used for evaluation


@dataclass(frozen=True)
class Photos:
    """The source photos of the views: fruits on white including renders, and the shop photos."""

    subjects: Subjects
    fruit_names: list[str]
    shop_names: list[str]

    @property
    def shape(self) -> Shape:
        """Sizes of the student's heads."""
        from train.student import Shape

        return Shape(len(self.fruit_names), len(self.shop_names))


def read_all(data: Path) -> Photos:
    """Read both data sets, the shop photos of both splits."""
    fruits = read_photos(data / "fruits360-training.tar") + _renders()
    shop = read_photos(data / "grocery-trainval.tar")
    fruit_names, fruit_labels = _numbered(fruits)
    shop_names, shop_labels = _numbered(shop)
    return Photos(Subjects(fruits, fruit_labels, shop, shop_labels), fruit_names, shop_names)


def held_out(shop: list[Photo], fold: int | None) -> npt.NDArray[np.bool_]:
    """Return a mask of the shop photos held out from training: those of `fold`, or the validation split."""
    paths = [photo.path for photo in shop]
    return np.array(["/val/" in path for path in paths]) if fold is None else deal_folds(paths) == fold


def _renders() -> list[Photo]:
    with tempfile.TemporaryDirectory() as folder:
        render_sample(Path(folder), SampleOptions(per_kind=_RENDERS_PER_KIND, seed=_RENDERS_SEED))
        return read_folder(Path(folder), "render ")


def _numbered(photos: list[Photo]) -> tuple[list[str], npt.NDArray[np.int64]]:
    names = sorted({photo.label for photo in photos})
    number = {name: i for i, name in enumerate(names)}
    return names, np.array([number[photo.label] for photo in photos], np.int64)


def train(work: Path, data: Path, fold: int | None) -> None:
    """Make the views unless WORK contains them, train on them, and write WORK/all/backbone.npz."""
    import keras

    from train.student import Stage, build_student, fit, save_backbone

    photos = read_all(data)
    pool = make_pool(work / "pool", photos.subjects, VIEWS, SEED)
    rows = pool.rows_without(held_out(photos.subjects.shop, fold))
    folder = work / ("all" if fold is None else f"fold-{fold}")
    n_epochs = N_EPOCHS if fold is None else N_FOLD_EPOCHS
    keras.utils.set_random_seed(SEED)
    student = build_student(SIZE_PX, photos.shape)
    fit(student, pool, rows, Stage(SIZE_PX, n_epochs, 2e-3, SEED), folder)
    save_backbone(student, pool, folder)


def main() -> None:
    """Parse the command line and train."""
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(prog="python -m train.fruitnet", description=summary, epilog=rest)
    parser.add_argument("work", type=Path, help="folder for pools, weights and logs: 15 GB")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the archives")
    parser.add_argument("--fold", type=int, choices=range(N_FOLDS), help="hold out this fold of all shop photos")
    chosen = parser.parse_args()
    os.environ["KERAS_BACKEND"] = "tensorflow"
    train(chosen.work, chosen.data, chosen.fold)


if __name__ == "__main__":
    main()
