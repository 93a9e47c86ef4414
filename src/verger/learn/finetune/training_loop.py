"""Train a network: first a new head on the frozen backbone, then the upper layers too. Imports Keras."""

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
from verger.learn.finetune.dataset import Dataset, DecodedPhotos
from verger.learn.finetune.finetune_options import FinetuneOptions
from verger.learn.finetune.keras_extractor import backbone_of
from verger.process.progress import Progress

Floats = npt.NDArray[np.float32]

HEAD, UPPER = "head", "upper"

_HEAD_LEARNING_RATE = 1e-3
_LABEL_SMOOTHING = 0.1
_DROPOUT = 0.2


@dataclass(frozen=True)
class Epoch:
    """A row of the history. loss, accuracy: of the training, on augmented photos, weighted by label."""

    epoch: int
    stage: str
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float


@dataclass
class TrainingRun:
    """The epochs of a training. best, best_weights: the epoch with the lowest validation loss, and its weights."""

    history: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    best_weights: list[Floats] = field(default_factory=list)


@dataclass(frozen=True)
class NetworkInTraining:
    """A network and its training data. model: `extractor`, then dropout, then `head`."""

    extractor: Any
    head: Any
    model: Any
    options: FinetuneOptions
    dataset: Dataset


@dataclass(frozen=True)
class TrainingStage:
    """A stage of the training: all of its epochs train the same layers."""

    name: str
    n_epochs: int
    learning_rate: float


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Augmented photos in batches. All batches have the same size, so that a backend compiles only one program."""

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


def add_head(extractor: Any, dataset: Dataset, options: FinetuneOptions) -> NetworkInTraining:
    """Return the network to train: `extractor` with dropout and a new head."""
    keras.utils.set_random_seed(options.seed)
    head = keras.layers.Dense(len(dataset.labels), name="head")
    logits = head(keras.layers.Dropout(_DROPOUT)(extractor.output))
    return NetworkInTraining(extractor, head, keras.Model(extractor.input, logits), options, dataset)


def train(network: NetworkInTraining, progress: Progress) -> TrainingRun:
    """Train the network in place; afterwards it has the weights of the best epoch."""
    options, run = network.options, TrainingRun()
    for stage in (
        TrainingStage(HEAD, options.head_epochs, _HEAD_LEARNING_RATE),
        TrainingStage(UPPER, options.epochs if options.unfreeze else 0, options.learning_rate),
    ):
        _run_stage(stage, network, run, progress)
    network.model.set_weights(run.best_weights)
    return run


def _run_stage(stage: TrainingStage, network: NetworkInTraining, run: TrainingRun, progress: Progress) -> None:
    if stage.n_epochs == 0:
        return
    _compile_stage(stage, network, run)
    lowest_loss, n_without_progress = math.inf, 0
    for i in range(stage.n_epochs):
        progress.stage(f"{stage.name} {i + 1}/{stage.n_epochs}", len(network.dataset.training))
        epoch = _run_epoch(stage.name, network, len(run.history), progress)
        run.history.append(epoch)
        progress.note(_format_epoch(epoch))
        if run.best is None or epoch.val_loss < run.best.val_loss:
            run.best, run.best_weights = epoch, network.model.get_weights()
        n_without_progress = 0 if epoch.val_loss < lowest_loss else n_without_progress + 1
        lowest_loss = min(lowest_loss, epoch.val_loss)
        if n_without_progress == network.options.patience:
            return


def _format_epoch(epoch: Epoch) -> str:
    return (
        f"epoch {epoch.epoch} ({epoch.stage}): "
        f"validation accuracy {epoch.val_accuracy:.1%}, loss {epoch.val_loss:.3f}; "
        f"training accuracy {epoch.accuracy:.1%}, loss {epoch.loss:.3f}"
    )


def _compile_stage(stage: TrainingStage, network: NetworkInTraining, run: TrainingRun) -> None:
    """Load the best weights so far, unfreeze the layers that the stage trains, and compile the model."""
    if run.best is not None:
        network.model.set_weights(run.best_weights)
    backbone = backbone_of(network.extractor)
    backbone.trainable = stage.name == UPPER
    n_frozen = round((1 - network.options.unfreeze) * len(backbone.layers))
    for i, layer in enumerate(backbone.layers):
        # Batch normalization stays frozen: a batch has too few photos to learn statistics from.
        if i < n_frozen or isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    n_steps = stage.n_epochs * math.ceil(len(network.dataset.training) / network.options.batch_size)
    # The learning rate starts low and rises, because Adam's first steps go in directions that are mostly noise.
    rate = keras.optimizers.schedules.CosineDecay(
        stage.learning_rate / 10, n_steps, warmup_target=stage.learning_rate, warmup_steps=math.ceil(n_steps / 10)
    )
    network.model.compile(
        optimizer=keras.optimizers.Adam(rate, clipnorm=5.0),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=_LABEL_SMOOTHING),
        weighted_metrics=["accuracy"],
    )


def _run_epoch(stage: str, network: NetworkInTraining, n_before: int, progress: Progress) -> Epoch:
    started = time.monotonic()
    batches = Batches(network.dataset, network.options, n_before)
    n_photos = len(network.dataset.training)
    report_batches = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: progress.advance(
            min(n_photos, (batch + 1) * network.options.batch_size), 0
        )
    )
    logs = network.model.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=[report_batches]).history
    validation = network.dataset.validation
    features = extract(network.extractor, validation, network.options.batch_size)
    val_loss, val_accuracy = _evaluate(network, features, validation.labels)
    if not math.isfinite(logs["loss"][0] + val_loss):
        raise VergerError(
            f"learning_rate = {network.options.learning_rate}: the loss is not a finite number: use a lower rate"
        )
    seconds = round(time.monotonic() - started, 2)
    return Epoch(n_before + 1, stage, logs["loss"][0], logs["accuracy"][0], val_loss, val_accuracy, seconds)


def extract(extractor: Any, photos: DecodedPhotos, batch_size: int) -> Floats:
    """Return the (n, n_features) vectors of photos; the photos must have the size of the network's input."""
    vectors = []
    for start in range(0, len(photos), batch_size):
        rows = photos.pixels[start : start + batch_size]
        full: RGB = np.resize(
            rows, (batch_size, *rows.shape[1:])
        )  # all batches have one size, so the model is compiled once
        vectors.append(np.asarray(extractor.predict_on_batch(full.astype(np.float32)))[: len(rows)])
    return np.concatenate(vectors)


def _evaluate(network: NetworkInTraining, features: Floats, labels: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return the loss and the accuracy of the head; labels are smoothed as in training, but not weighted."""
    kernel, bias = (np.asarray(array) for array in network.head.get_weights())
    logits: Floats = features @ kernel + bias
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    of_label = log_probabilities[np.arange(len(labels)), labels]
    smoothed = (1 - _LABEL_SMOOTHING) * of_label + _LABEL_SMOOTHING * log_probabilities.mean(axis=1)
    return float(-smoothed.mean()), float((logits.argmax(axis=1) == labels).mean())
