"""The student: fruitnet with its heads, trained on the teacher's vectors and predictions, and on labels.

The learning rate rises, stays, and falls to zero in the last epochs. Unlike with a cosine, an interrupted training
may continue with another `N_EPOCHS` (Hu et al. 2024, arXiv:2404.06395).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import numpy.typing as npt

from train.heads import fit_head
from train.network import build_backbone
from train.pool import NO_LABEL, Pool

SIZE_PX = 96
N_EPOCHS = 26
_N_FALLING_EPOCHS = 7
_LEARNING_RATE = 2e-3
_N_RISING_STEPS = 600
_BATCH = 128
_SMALLEST_CROP = 0.85  # side of the part of a view that the student sees
_HEADS = ("fruit", "shop", "species")
_HEAD_WEIGHT = 0.3  # the loss of the teacher's vector has weight 1
WEIGHTS = "best.weights.h5"
LOG = "log.csv"

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shape:
    """Numbers of fruit labels, shop labels, species and teacher features."""

    fruit: int
    shop: int
    species: int
    n_teacher: int = 1280


def build_student(shape: Shape) -> Any:
    """Return the student: pixels (0 to 255) in; teacher vector and the logits of the heads out."""
    backbone = build_backbone(SIZE_PX)
    pixels = keras.Input((SIZE_PX, SIZE_PX, 3))
    embedding = backbone(keras.layers.Rescaling(1 / 127.5, -1.0)(pixels))
    dropped = keras.layers.Dropout(0.2)(embedding)
    heads = {name: keras.layers.Dense(getattr(shape, name), name=name)(dropped) for name in _HEADS}
    teacher = keras.layers.Dense(shape.n_teacher, name="teacher")(embedding)
    return keras.Model(pixels, {"teacher": teacher} | heads)


def backbone_of(student: Any) -> Any:
    """Return the feature extractor within a student: (size, size, 3) in -1..1 in, 1280 features out."""
    return next(layer for layer in student.layers if isinstance(layer, keras.Model))


def signed_root(vectors: Floats) -> Floats:
    """Return rows of length 1, each number replaced by its root with the same sign, again of length 1.

    The classifiers use vectors in this form: large activations count less.
    """
    roots = np.sign(vectors) * np.sqrt(np.abs(vectors))
    return np.asarray(roots / np.linalg.norm(roots, axis=1, keepdims=True).clip(1e-12), np.float32)


@dataclass(frozen=True)
class Targets:
    """Training targets for each view of a pool: arrays with a row per view."""

    teacher: npt.NDArray[np.float16]
    heads: dict[str, npt.NDArray[np.float16]]

    def of(self, rows: Rows) -> dict[str, Floats]:
        """Return the targets of these views."""
        arrays = {"teacher": self.teacher} | self.heads
        return {name: array[rows].astype(np.float32) for name, array in arrays.items()}


def prepare_targets(pool: Pool, rows: Rows, shape: Shape) -> Targets:
    """Fit the heads to the labels of `rows`, and return the targets of every view.

    Where a view shows a known fruit from white, half of the fruit head's target is its label. Photos of scenes
    are too few for that: the student would learn the shops.
    """
    teacher = signed_root(np.asarray(pool.teacher, np.float32))
    mean, scale = teacher[rows].mean(axis=0), teacher[rows].std(axis=0)
    teacher -= mean
    teacher /= scale + 0.1 * scale.mean()
    heads = {}
    for name in _HEADS:
        labels = getattr(pool, name)
        heads[name] = fit_head(teacher[rows], labels[rows], getattr(shape, name))(teacher)
    labelled = np.flatnonzero(pool.fruit != NO_LABEL)
    heads["fruit"][labelled] /= 2
    heads["fruit"][labelled, pool.fruit[labelled]] += 0.5
    return Targets(teacher.astype(np.float16), {name: array.astype(np.float16) for name, array in heads.items()})


@dataclass(frozen=True)
class Examples:
    """Rows of a pool, with the targets of the pool's views."""

    pool: Pool
    targets: Targets
    rows: Rows


def repeat_shops(pool: Pool, rows: Rows) -> Rows:
    """Return rows in which each labelled shop view is twice: shops are harder than other scenes."""
    return np.concatenate([rows, rows[pool.shop[rows] != NO_LABEL]])


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of a pool's views, randomly mirrored and shifted in each epoch."""

    def __init__(self, examples: Examples, seed: int, *, is_training: bool, first_epoch: int = 0) -> None:
        super().__init__(workers=2 if is_training else 1, max_queue_size=16)
        self._pool, self._targets, self._rows = examples.pool, examples.targets, examples.rows
        self._seed, self._is_training = seed, is_training
        self._epoch = first_epoch - 1
        self.on_epoch_end()

    def __len__(self) -> int:
        return len(self._rows) // _BATCH

    def on_epoch_end(self) -> None:
        """Shuffle the views."""
        self._epoch += 1
        if self._is_training:
            self._rows = np.random.default_rng([self._seed, self._epoch]).permutation(self._rows)

    def __getitem__(self, index: int) -> tuple[Any, dict[str, Any]]:
        rows = np.sort(self._rows[index * _BATCH : (index + 1) * _BATCH])
        rng = np.random.default_rng([self._seed, self._epoch, index])
        pixels = [self._pixels(self._pool.views[row], rng) for row in rows]
        return np.stack(pixels).astype(np.float32), self._targets.of(rows)

    def _pixels(self, view: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        resampling = cv2.INTER_AREA
        if self._is_training:
            whole = view.shape[0]
            side = rng.integers(round(_SMALLEST_CROP * whole), whole + 1)
            left, top = rng.integers(whole - side + 1, size=2)
            view = view[top : top + side, left : left + side]
            if rng.random() < 0.5:
                view = view[:, ::-1]
            if rng.random() < 0.5:
                resampling = cv2.INTER_CUBIC  # sharper: photos are resized in other ways too
        return np.asarray(cv2.resize(view, (SIZE_PX, SIZE_PX), interpolation=resampling))


class Schedule(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A learning rate that rises in `_N_RISING_STEPS`, stays, and falls to zero in the last `n_falling` steps."""

    def __init__(self, n_steps: int, n_falling: int) -> None:
        self._n_steps, self._n_falling = n_steps, n_falling

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step."""
        step = keras.ops.cast(step, "float32")
        rising, falling = (step + 1) / _N_RISING_STEPS, (self._n_steps - step) / self._n_falling
        return _LEARNING_RATE * keras.ops.clip(keras.ops.minimum(rising, falling), 0.0, 1.0)


def fit(student: Any, pool: Pool, seed: int, folder: Path) -> None:
    """Train in place on a pool; write the weights of the best epoch and the log to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.random.default_rng(seed).permutation(len(pool.views))
    n_held_out = max(_BATCH, len(rows) // 50)
    shape = Shape(*(student.get_layer(name).units for name in (*_HEADS, "teacher")))
    targets = prepare_targets(pool, rows[n_held_out:], shape)
    training = Examples(pool, targets, repeat_shops(pool, rows[n_held_out:]))
    batches = Batches(training, seed, is_training=True, first_epoch=_n_epochs_done(folder))
    _compile(student, len(batches))
    best = folder / WEIGHTS
    student.fit(
        batches,
        validation_data=Batches(Examples(pool, targets, rows[:n_held_out]), seed, is_training=False),
        epochs=N_EPOCHS,
        verbose=2,
        callbacks=[
            keras.callbacks.ModelCheckpoint(best, save_best_only=True, save_weights_only=True),
            keras.callbacks.CSVLogger(folder / LOG, append=True),
            # An interrupted training continues after its last complete epoch.
            keras.callbacks.BackupAndRestore(folder / "backup"),
        ],
    )
    student.load_weights(best)


def _n_epochs_done(folder: Path) -> int:
    log = folder / LOG
    return len(log.read_text().splitlines()) - 1 if log.exists() else 0


def _compile(student: Any, n_steps: int) -> None:
    """Set losses and optimizer; n_steps: number of steps of an epoch."""
    rate = Schedule(n_steps * N_EPOCHS, n_steps * _N_FALLING_EPOCHS)
    student.compile(
        optimizer=keras.optimizers.AdamW(rate, weight_decay=0.02, clipnorm=5.0),
        loss={"teacher": "mean_squared_error"}
        | {name: keras.losses.CategoricalCrossentropy(from_logits=True) for name in _HEADS},
        loss_weights={"teacher": 1.0} | dict.fromkeys(_HEADS, _HEAD_WEIGHT),
        metrics={name: ["categorical_accuracy"] for name in _HEADS},
    )


def save_backbone(student: Any, pool: Pool, folder: Path) -> None:
    """Write backbone.npz: the weights in order, and the features of a few views, to check the export with."""
    backbone = backbone_of(student)
    views = [cv2.resize(view, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA) for view in pool.views[:16]]
    features = backbone.predict(np.stack(views).astype(np.float32) / 127.5 - 1, verbose=0)
    weights = {f"weight_{i:03d}": array for i, array in enumerate(backbone.get_weights())}
    np.savez(folder / "backbone.npz", views=np.stack(views), features=features, **weights)
