"""The student: fruitnet with three heads, taught by the teacher's vectors, its answers, and labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import numpy.typing as npt

from train.heads import Head, fit_head
from train.network import build_backbone
from train.pool import NO_LABEL, Pool

_BATCH = 128
WEIGHTS = "best.weights.h5"


@dataclass(frozen=True)
class Stage:
    """One stretch of training: input size in pixels, passes over the pool, highest learning rate."""

    size_px: int
    n_epochs: int
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class Shape:
    """How many fruit labels, shop labels and teacher features there are."""

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
class Answers:
    """The teacher's side: its vectors' mean and scale, and what it would name a view."""

    mean: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    fruit: Head
    shop: Head

    def standardised(self, teacher: npt.NDArray[np.float16]) -> npt.NDArray[np.float32]:
        """Return (n, n_teacher) vectors with the pool's mean and scale taken out."""
        return np.asarray((teacher.astype(np.float32) - self.mean) / self.scale)


def answers_of(pool: Pool, shape: Shape) -> Answers:
    """Fit the teacher's heads on a pool."""
    teacher = pool.teacher[:].astype(np.float32)
    mean, scale = teacher.mean(axis=0), teacher.std(axis=0) + 0.05
    teacher = (teacher - mean) / scale
    heads = (
        fit_head(teacher, labels, n) for labels, n in ((pool.fruit, shape.n_fruits), (pool.shop, shape.n_shop))
    )
    return Answers(mean, scale, *heads)


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of a pool's views, mirrored and shifted a little anew each time."""

    def __init__(
        self, pool: Pool, rows: npt.NDArray[np.int64], stage: Stage, answers: Answers, *, is_training: bool
    ) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self._pool, self._rows, self._stage, self._is_training = pool, rows, stage, is_training
        self._rng = np.random.default_rng(stage.seed)
        self._answers = answers
        self.on_epoch_end()

    def __len__(self) -> int:
        return len(self._rows) // _BATCH

    def on_epoch_end(self) -> None:
        """Deal the views anew."""
        if self._is_training:
            self._rows = self._rng.permutation(self._rows)

    def __getitem__(self, index: int) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        rows = np.sort(self._rows[index * _BATCH : (index + 1) * _BATCH])
        teacher = self._answers.standardised(self._pool.teacher[rows])
        fruit, shop = self._pool.fruit[rows], self._pool.shop[rows]
        return (
            np.stack([self._pixels(view) for view in self._pool.views[rows]]),
            {
                "teacher": teacher,
                "fruit": self._answers.fruit(teacher, fruit),
                "shop": self._answers.shop(teacher, shop),
            },
            {
                "teacher": np.ones(len(rows), np.float32),
                "fruit": (fruit != NO_LABEL).astype(np.float32),
                "shop": (fruit == NO_LABEL).astype(np.float32),
            },
        )

    def _pixels(self, view: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        size_px = self._stage.size_px
        if self._is_training:
            whole = view.shape[0]
            side = self._rng.integers(round(0.88 * whole), whole + 1)
            left, top = self._rng.integers(whole - side + 1, size=2)
            view = view[top : top + side, left : left + side]
            if self._rng.random() < 0.5:
                view = view[:, ::-1]
        small = cv2.resize(view, (size_px, size_px), interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.float32)


def fit(student: Any, pool: Pool, stage: Stage, folder: Path) -> None:
    """Train in place; the best weights by validation loss and the log of every epoch go to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(stage.seed)
    rows = rng.permutation(len(pool.views))
    n_held_out = max(_BATCH, len(rows) // 32)
    n_fruits, n_shop = (student.get_layer(name).units for name in ("fruit", "shop"))
    answers = answers_of(pool, Shape(n_fruits, n_shop))
    batches = Batches(pool, rows[n_held_out:], stage, answers, is_training=True)
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
        loss_weights={"teacher": 1.0, "fruit": 0.4, "shop": 0.6},
        weighted_metrics={"fruit": ["categorical_accuracy"], "shop": ["categorical_accuracy"]},
    )
    best = folder / WEIGHTS
    student.fit(
        batches,
        validation_data=Batches(pool, rows[:n_held_out], stage, answers, is_training=False),
        epochs=stage.n_epochs,
        verbose=2,
        callbacks=[
            keras.callbacks.ModelCheckpoint(best, save_best_only=True, save_weights_only=True),
            keras.callbacks.CSVLogger(folder / "log.csv", append=True),
            # A training that was stopped goes on after its last whole epoch.
            keras.callbacks.BackupAndRestore(folder / "backup"),
        ],
    )
    student.load_weights(best)


def save_backbone(student: Any, pool: Pool, folder: Path) -> None:
    """Write backbone.npz: its weights in order, and what it makes of a few views, to check the export by."""
    backbone = backbone_of(student)
    size_px = backbone.input_shape[1]
    some = [cv2.resize(view, (size_px, size_px), interpolation=cv2.INTER_AREA) for view in pool.views[:16]]
    features = backbone.predict(np.stack(some).astype(np.float32) / 127.5 - 1, verbose=0)
    weights = {f"weight_{i:03d}": array for i, array in enumerate(backbone.get_weights())}
    np.savez(folder / "backbone.npz", views=np.stack(some), features=features, **weights)
