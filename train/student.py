"""The student: fruitnet with three heads, trained on the teacher's vectors and predictions, and on labels."""

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

_BATCH = 128
WEIGHTS = "best.weights.h5"


@dataclass(frozen=True)
class Stage:
    """A stage of training: input size in pixels, epochs, highest learning rate, seed."""

    size_px: int
    n_epochs: int
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class Shape:
    """Numbers of fruit labels, shop labels and teacher features."""

    n_fruits: int
    n_shop: int
    n_teacher: int = 1280


def build_student(size_px: int, shape: Shape) -> Any:
    """Return the student: pixels (0 to 255) in; teacher vector, fruit logits and shop logits out."""
    backbone = build_backbone(size_px)
    pixels = keras.Input((size_px, size_px, 3))
    embedding = backbone(keras.layers.Rescaling(1 / 127.5, -1.0)(pixels))
    dropped = keras.layers.Dropout(0.2)(embedding)
    return keras.Model(
        pixels,
        {
            "teacher": keras.layers.Dense(shape.n_teacher, name="teacher")(embedding),
            "fruit": keras.layers.Dense(shape.n_fruits, name="fruit")(dropped),
            "shop": keras.layers.Dense(shape.n_shop, name="shop")(dropped),
        },
    )


def backbone_of(student: Any) -> Any:
    """Return the feature extractor within a student: (size, size, 3) in -1..1 in, 1280 features out."""
    return next(layer for layer in student.layers if isinstance(layer, keras.Model))


@dataclass(frozen=True)
class Targets:
    """Training targets for each view of a pool: arrays with a row per view."""

    teacher: npt.NDArray[np.float32]
    fruit: npt.NDArray[np.float16]
    shop: npt.NDArray[np.float16]

    def of(self, rows: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.float32]]:
        """Return the targets of a batch."""
        heads: dict[str, npt.NDArray[Any]] = {"teacher": self.teacher, "fruit": self.fruit, "shop": self.shop}
        return {name: values[rows].astype(np.float32) for name, values in heads.items()}


def prepare_targets(pool: Pool, rows: npt.NDArray[np.int64], shape: Shape) -> Targets:
    """Fit the teacher's heads on `rows`, and return the targets of every view."""
    teacher = np.asarray(pool.teacher, np.float32)
    mean, scale = teacher[rows].mean(axis=0), teacher[rows].std(axis=0) + 0.05
    teacher -= mean
    teacher /= scale
    fruit = fit_head(teacher[rows], pool.fruit[rows], shape.n_fruits)(teacher)
    shop = fit_head(teacher[rows], pool.shop[rows], shape.n_shop)(teacher)
    has_label = np.flatnonzero(pool.fruit != NO_LABEL)
    fruit[has_label] /= 2
    fruit[has_label, pool.fruit[has_label]] += 0.5
    return Targets(teacher, fruit.astype(np.float16), shop.astype(np.float16))


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of a pool's views, randomly mirrored and shifted in each epoch."""

    def __init__(
        self, pool: Pool, rows: npt.NDArray[np.int64], stage: Stage, targets: Targets, *, is_training: bool
    ) -> None:
        super().__init__(workers=2 if is_training else 1, max_queue_size=16)
        self._pool, self._rows, self._stage, self._is_training = pool, rows, stage, is_training
        self._targets = targets
        self._epoch = -1
        self.on_epoch_end()

    def __len__(self) -> int:
        return len(self._rows) // _BATCH

    def on_epoch_end(self) -> None:
        """Shuffle the views."""
        self._epoch += 1
        if self._is_training:
            self._rows = np.random.default_rng([self._stage.seed, self._epoch]).permutation(self._rows)

    def __getitem__(self, index: int) -> tuple[Any, dict[str, Any]]:
        rows = np.sort(self._rows[index * _BATCH : (index + 1) * _BATCH])
        rng = np.random.default_rng([self._stage.seed, self._epoch, index])
        pixels = [self._pixels(self._pool.views[row], rng) for row in rows]
        return np.stack(pixels).astype(np.float32), self._targets.of(rows)

    def _pixels(self, view: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        size_px = self._stage.size_px
        if self._is_training:
            whole = view.shape[0]
            side = rng.integers(round(0.88 * whole), whole + 1)
            left, top = rng.integers(whole - side + 1, size=2)
            view = view[top : top + side, left : left + side]
            if rng.random() < 0.5:
                view = view[:, ::-1]
        return np.asarray(cv2.resize(view, (size_px, size_px), interpolation=cv2.INTER_AREA))


def fit(student: Any, pool: Pool, rows: npt.NDArray[np.int64], stage: Stage, folder: Path) -> None:
    """Train in place on `rows` of a pool; write the weights of the best epoch and the log to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.random.default_rng(stage.seed).permutation(rows)
    n_held_out = max(_BATCH, len(rows) // 50)
    n_fruits, n_shop = (student.get_layer(name).units for name in ("fruit", "shop"))
    targets = prepare_targets(pool, rows[n_held_out:], Shape(n_fruits, n_shop))
    batches = Batches(pool, rows[n_held_out:], stage, targets, is_training=True)
    n_steps = len(batches) * stage.n_epochs
    rate = keras.optimizers.schedules.CosineDecay(
        stage.learning_rate / 20, n_steps, warmup_target=stage.learning_rate, warmup_steps=n_steps // 15
    )
    student.compile(
        optimizer=keras.optimizers.AdamW(rate, weight_decay=0.02, clipnorm=5.0),
        loss={
            "teacher": "mean_squared_error",
            "fruit": keras.losses.CategoricalCrossentropy(from_logits=True),
            "shop": keras.losses.CategoricalCrossentropy(from_logits=True),
        },
        loss_weights={"teacher": 1.0, "fruit": 0.3, "shop": 0.3},
        metrics={"fruit": ["categorical_accuracy"], "shop": ["categorical_accuracy"]},
    )
    best = folder / WEIGHTS
    student.fit(
        batches,
        validation_data=Batches(pool, rows[:n_held_out], stage, targets, is_training=False),
        epochs=stage.n_epochs,
        verbose=2,
        callbacks=[
            keras.callbacks.ModelCheckpoint(best, save_best_only=True, save_weights_only=True),
            keras.callbacks.CSVLogger(folder / "log.csv", append=True),
            # An interrupted training continues after its last complete epoch.
            keras.callbacks.BackupAndRestore(folder / "backup"),
        ],
    )
    student.load_weights(best)


def save_backbone(student: Any, pool: Pool, folder: Path) -> None:
    """Write backbone.npz: the weights in order, and the features of a few views, to check the export with."""
    backbone = backbone_of(student)
    size_px = backbone.input_shape[1]
    views = [cv2.resize(view, (size_px, size_px), interpolation=cv2.INTER_AREA) for view in pool.views[:16]]
    features = backbone.predict(np.stack(views).astype(np.float32) / 127.5 - 1, verbose=0)
    weights = {f"weight_{i:03d}": array for i, array in enumerate(backbone.get_weights())}
    np.savez(folder / "backbone.npz", views=np.stack(views), features=features, **weights)
