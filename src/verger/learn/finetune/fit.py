"""Train: the head on the frozen backbone, then the backbone's upper layers. Imports Keras."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from verger.errors import VergerError
from verger.kernel.decode import RGB
from verger.learn.augment.views import augment
from verger.learn.finetune.extractor import backbone_of
from verger.learn.finetune.finetune_options import FinetuneOptions
from verger.learn.finetune.photos import Dataset, Photos
from verger.process.progress import Progress

Floats = npt.NDArray[np.float32]

HEAD, UPPER = "head", "upper"

_HEAD_LEARNING_RATE = 1e-3
_LABEL_SMOOTHING = 0.1
_DROPOUT = 0.2


@dataclass(frozen=True)
class Epoch:
    """A row of the history; the training figures are of augmented photos, weighted by label."""

    epoch: int
    stage: str
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float


@dataclass
class Course:
    """How the training went; the best epoch is that of the lowest validation loss, and its weights are kept."""

    history: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    best_weights: list[Floats] = field(default_factory=list)


@dataclass(frozen=True)
class Trainee:
    """The model in training: `model` is `extractor`, dropout and `head`."""

    extractor: Any
    head: Any
    model: Any
    options: FinetuneOptions
    dataset: Dataset


@dataclass(frozen=True)
class Stage:
    """A stretch of training."""

    name: str
    n_epochs: int
    learning_rate: float


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Augmented photos in batches that are all full: one size, so that a backend compiles one program."""

    def __init__(self, dataset: Dataset, options: FinetuneOptions, epoch: int) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self._photos, self._options, self._epoch = dataset.training, options, epoch
        rng = np.random.default_rng((options.seed, epoch))
        self._rows = np.resize(rng.permutation(len(self._photos)), len(self) * options.batch_size)
        self._targets = np.eye(len(dataset.labels), dtype=np.float32)
        counts = np.bincount(self._photos.labels, minlength=len(dataset.labels))
        self._label_weights = (len(self._photos) / (len(counts) * counts)).astype(np.float32)

    def __len__(self) -> int:
        return math.ceil(len(self._photos) / self._options.batch_size)

    def __getitem__(self, index: int) -> tuple[Floats, Floats, Floats]:
        start = index * self._options.batch_size
        rows = self._rows[start : start + self._options.batch_size]
        rng = np.random.default_rng((self._options.seed, self._epoch, index))
        views = [augment(self._photos.pixels[row], self._options.input_px, rng) for row in rows]
        labels = self._photos.labels[rows]
        return np.stack(views).astype(np.float32), self._targets[labels], self._label_weights[labels]


def make_trainee(extractor: Any, dataset: Dataset, options: FinetuneOptions) -> Trainee:
    """Return the model to train: `extractor` with a new head."""
    keras.utils.set_random_seed(options.seed)
    head = keras.layers.Dense(len(dataset.labels), name="head")
    logits = head(keras.layers.Dropout(_DROPOUT)(extractor.output))
    return Trainee(extractor, head, keras.Model(extractor.input, logits), options, dataset)


def train(trainee: Trainee, progress: Progress) -> Course:
    """Train in place, and leave the trainee with the best epoch's weights."""
    options, course = trainee.options, Course()
    for stage in (
        Stage(HEAD, options.head_epochs, _HEAD_LEARNING_RATE),
        Stage(UPPER, options.epochs if options.unfreeze else 0, options.learning_rate),
    ):
        _run(stage, trainee, course, progress)
    trainee.model.set_weights(course.best_weights)
    return course


def _run(stage: Stage, trainee: Trainee, course: Course, progress: Progress) -> None:
    if stage.n_epochs == 0:
        return
    _prepare(stage, trainee, course)
    lowest, n_in_vain = math.inf, 0
    for i in range(stage.n_epochs):
        progress.stage(f"{stage.name} {i + 1}/{stage.n_epochs}", len(trainee.dataset.training))
        epoch = _run_epoch(stage.name, trainee, len(course.history), progress)
        course.history.append(epoch)
        progress.note(_say(epoch))
        if course.best is None or epoch.val_loss < course.best.val_loss:
            course.best, course.best_weights = epoch, trainee.model.get_weights()
        n_in_vain = 0 if epoch.val_loss < lowest else n_in_vain + 1
        lowest = min(lowest, epoch.val_loss)
        if n_in_vain == trainee.options.patience:
            return


def _say(epoch: Epoch) -> str:
    return (
        f"epoch {epoch.epoch} ({epoch.stage}): {epoch.val_accuracy:.1%} of the held-out photos named rightly, "
        f"loss {epoch.val_loss:.3f}; in training {epoch.accuracy:.1%}, {epoch.loss:.3f}"
    )


def _prepare(stage: Stage, trainee: Trainee, course: Course) -> None:
    """Free what the stage trains, and compile; begin with the best weights so far."""
    if course.best is not None:
        trainee.model.set_weights(course.best_weights)
    backbone = backbone_of(trainee.extractor)
    backbone.trainable = stage.name == UPPER
    n_frozen = round((1 - trainee.options.unfreeze) * len(backbone.layers))
    for i, layer in enumerate(backbone.layers):
        # A batch norm that may train would take its statistics from a batch, and learn them: from too few photos.
        if i < n_frozen or isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    n_steps = stage.n_epochs * math.ceil(len(trainee.dataset.training) / trainee.options.batch_size)
    # A warm-up, for Adam's first steps are as long as the rate allows whichever way they point.
    rate = keras.optimizers.schedules.CosineDecay(
        stage.learning_rate / 10, n_steps, warmup_target=stage.learning_rate, warmup_steps=math.ceil(n_steps / 10)
    )
    trainee.model.compile(
        optimizer=keras.optimizers.Adam(rate, clipnorm=5.0),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=_LABEL_SMOOTHING),
        weighted_metrics=["accuracy"],
    )


def _run_epoch(stage: str, trainee: Trainee, n_before: int, progress: Progress) -> Epoch:
    started = time.monotonic()
    batches = Batches(trainee.dataset, trainee.options, n_before)
    n_photos = len(trainee.dataset.training)
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: progress.advance(
            min(n_photos, (batch + 1) * trainee.options.batch_size), 0
        )
    )
    logs = trainee.model.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=[watch]).history
    validation = trainee.dataset.validation
    features = extract(trainee.extractor, validation, trainee.options.batch_size)
    val_loss, val_accuracy = judge(score(trainee, features), validation.labels)
    if not math.isfinite(logs["loss"][0] + val_loss):
        raise VergerError(
            f"learning_rate = {trainee.options.learning_rate}: the loss is no longer a number; try a lower one"
        )
    seconds = round(time.monotonic() - started, 2)
    return Epoch(n_before + 1, stage, logs["loss"][0], logs["accuracy"][0], val_loss, val_accuracy, seconds)


def extract(extractor: Any, photos: Photos, batch_size: int) -> Floats:
    """Return the (n, n_features) vectors of photos that are of the input's size already."""
    found = []
    for start in range(0, len(photos), batch_size):
        rows = photos.pixels[start : start + batch_size]
        full: RGB = np.resize(rows, (batch_size, *rows.shape[1:]))  # one size, one compilation
        found.append(np.asarray(extractor.predict_on_batch(full.astype(np.float32)))[: len(rows)])
    return np.concatenate(found)


def score(trainee: Trainee, features: Floats) -> Floats:
    """Return the (n, n_labels) logits of (n, n_features) vectors."""
    kernel, bias = (np.asarray(array) for array in trainee.head.get_weights())
    logits: Floats = features @ kernel + bias
    return logits


def judge(logits: Floats, labels: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return the loss, smoothed as in training but not weighted, and the accuracy."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_shares = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    own = log_shares[np.arange(len(labels)), labels]
    smoothed = (1 - _LABEL_SMOOTHING) * own + _LABEL_SMOOTHING * log_shares.mean(axis=1)
    return float(-smoothed.mean()), float((logits.argmax(axis=1) == labels).mean())
