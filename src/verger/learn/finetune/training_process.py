"""The child process that trains: python -m verger.learn.finetune.training_process OPTIONS_JSON FOLDER.

It reads the listing in FOLDER, and writes to FOLDER: the decoded photos, the weights of the trained backbone, the
head as a classifier, a sample of photos with the vectors of the trained model, the history, and the outcome.
"""

from __future__ import annotations

import json
import socket
import sys
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from verger.kernel.classifier.classifier import FILE_NAME as CLASSIFIER
from verger.kernel.classifier.classifier import Classifier, Floats
from verger.kernel.classifier.temperature import calibrate
from verger.kernel.networks.catalog import NetworkSpec
from verger.learn.finetune.dataset import Dataset, read_dataset
from verger.learn.finetune.finetune_options import FinetuneOptions
from verger.learn.finetune.keras_process import run_as_child
from verger.learn.finetune.training_outcome import (
    HISTORY,
    LISTING,
    MODEL,
    SAMPLE,
    WEIGHTS,
    LabelScore,
    TrainingOutcome,
)
from verger.process.progress import Progress

if TYPE_CHECKING:
    from verger.learn.finetune.training_loop import NetworkInTraining, TrainingRun

_N_SAMPLE = 16
_ACCURACY_WHEN_SURE = 0.95
_DOWNLOAD_TIMEOUT_S = 60.0


def train_from_listing(folder: Path, options: FinetuneOptions, progress: Progress) -> None:
    """Read the photos in the listing in `folder`, train on these photos, and write the results to `folder`."""
    dataset = read_dataset(folder / LISTING, options, folder, progress)
    progress.stage("load network")
    # Imported late, because importing Keras takes seconds, and errors of read_dataset should be reported before.
    from verger.learn.finetune.keras_extractor import backbone_of, build_extractor, start_weights
    from verger.learn.finetune.training_loop import add_head, train

    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_S)
    weights, weights_from = start_weights(options)
    extractor = build_extractor(options, weights, "channels_last")
    network = add_head(extractor, dataset, options)
    run = train(network, progress)
    np.savez(folder / WEIGHTS, *backbone_of(extractor).get_weights())
    (folder / HISTORY).write_text(json.dumps([asdict(epoch) for epoch in run.history], indent=2) + "\n")
    _save_best_epoch(network, run, weights_from, folder).write(folder)


def _save_best_epoch(
    network: NetworkInTraining, run: TrainingRun, weights_from: str, folder: Path
) -> TrainingOutcome:
    """Write the classifier and the sample of the best epoch; return the outcome of the training."""
    import keras

    from verger.learn.finetune.training_loop import extract

    dataset, validation = network.dataset, network.dataset.validation
    features = extract(network.extractor, validation, network.options.batch_size)
    classifier = _make_classifier(network, features)
    classifier.save(folder / CLASSIFIER)
    chosen = np.linspace(0, len(validation) - 1, min(_N_SAMPLE, len(validation))).astype(int)
    np.savez(folder / SAMPLE, pixels=validation.pixels[chosen], features=features[chosen])
    is_correct = classifier.logits(features).argmax(axis=1) == validation.labels
    assert run.best is not None
    backend = keras.backend.backend()
    return TrainingOutcome(
        counts={"training": len(dataset.training), "validation": len(validation)},
        rejected=[asdict(photo) for photo in dataset.rejected],
        labels=_score_labels(dataset, is_correct),
        best_epoch=run.best.epoch,
        validation_accuracy=run.best.val_accuracy,
        validation_loss=run.best.val_loss,
        n_features=features.shape[1],
        weights_from=weights_from,
        versions={"keras": keras.__version__, backend: _version_of(backend)},
    )


def _make_classifier(network: NetworkInTraining, features: Floats) -> Classifier:
    """Return the head as a classifier, calibrated on the `features` of the validation photos."""
    dataset = network.dataset
    kernel, bias = (np.asarray(array) for array in network.head.get_weights())
    about = {"n_photos": len(dataset.training), "on": "features"}
    spec = asdict(NetworkSpec(MODEL))  # a relative path: load_classifier looks in the classifier's folder
    uncalibrated = Classifier(tuple(dataset.labels), kernel.T, bias, 1.0, 0.0, spec, about)
    logits = uncalibrated.logits(features)
    fitted = calibrate(logits, dataset.validation.labels, _ACCURACY_WHEN_SURE, uncalibrated.levels)
    return replace(uncalibrated, **asdict(fitted))


def _score_labels(dataset: Dataset, is_correct: np.ndarray[Any, np.dtype[np.bool_]]) -> list[LabelScore]:
    n_labels = len(dataset.labels)
    n_training = np.bincount(dataset.training.labels, minlength=n_labels).tolist()
    n_validation = np.bincount(dataset.validation.labels, minlength=n_labels).tolist()
    n_correct = np.bincount(dataset.validation.labels, weights=is_correct, minlength=n_labels).tolist()
    rows = zip(dataset.labels, n_training, n_validation, n_correct, strict=True)
    return [
        LabelScore(label, n, n_held_out, round(correct / n_held_out, 4) if n_held_out else None)
        for label, n, n_held_out, correct in rows
    ]


def _version_of(backend: str) -> str:
    module = sys.modules.get(backend)
    return str(getattr(module, "__version__", None) or version(backend))


if __name__ == "__main__":
    sys.exit(run_as_child(train_from_listing))
