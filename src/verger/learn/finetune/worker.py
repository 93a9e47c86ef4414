"""Train, in a process of its own: python -m verger.learn.finetune.worker TASK_JSON FOLDER.

FOLDER holds the listing; into it go the photos, the trained backbone's weights, its head as a classifier, a
sample of photos with the vectors the trained model gives them, the history and the outcome.
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
from verger.learn.finetune.child import Teller
from verger.learn.finetune.finetune_options import FinetuneOptions
from verger.learn.finetune.outcome import HISTORY, LISTING, MODEL, SAMPLE, WEIGHTS, LabelScore, Outcome
from verger.learn.finetune.photos import Dataset, read_dataset
from verger.process.progress import Progress

if TYPE_CHECKING:
    from verger.learn.finetune.fit import Course, Trainee

_N_SAMPLE = 16
_ACCURACY_WHEN_SURE = 0.95
_DOWNLOAD_TIMEOUT_S = 60.0


def train_in(folder: Path, options: FinetuneOptions, progress: Progress) -> None:
    """Read the photos, train and write what came of it."""
    dataset = read_dataset(folder / LISTING, options, folder, progress)
    progress.stage("load network")
    # Only now: Keras takes seconds to import, and photos that cannot be trained on are told of before.
    from verger.learn.finetune.extractor import backbone_of, build_extractor, start_weights
    from verger.learn.finetune.fit import make_trainee, train

    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_S)
    weights, weights_from = start_weights(options)
    extractor = build_extractor(options, weights, "channels_last")
    trainee = make_trainee(extractor, dataset, options)
    course = train(trainee, progress)
    np.savez(folder / WEIGHTS, *backbone_of(extractor).get_weights())
    (folder / HISTORY).write_text(json.dumps([asdict(epoch) for epoch in course.history], indent=2) + "\n")
    _sum_up(trainee, course, weights_from, folder).write(folder)


def _sum_up(trainee: Trainee, course: Course, weights_from: str, folder: Path) -> Outcome:
    """Write the classifier and the sample, and return the outcome, all of the best epoch."""
    import keras

    from verger.learn.finetune.fit import extract

    validation = trainee.dataset.validation
    features = extract(trainee.extractor, validation, trainee.options.batch_size)
    classifier = _classifier(trainee, features)
    classifier.save(folder / CLASSIFIER)
    chosen = np.linspace(0, len(validation) - 1, min(_N_SAMPLE, len(validation))).astype(int)
    np.savez(folder / SAMPLE, pixels=validation.pixels[chosen], features=features[chosen])
    is_right = classifier.logits(features).argmax(axis=1) == validation.labels
    assert course.best is not None
    backend = keras.backend.backend()
    return Outcome(
        counts={"training": len(trainee.dataset.training), "validation": len(validation)},
        rejected_by_reason=trainee.dataset.reasons,
        rejected=[asdict(photo) for photo in trainee.dataset.rejected],
        labels=_score_labels(trainee.dataset, is_right),
        best_epoch=course.best.epoch,
        validation_accuracy=course.best.val_accuracy,
        validation_loss=course.best.val_loss,
        n_features=features.shape[1],
        weights_from=weights_from,
        versions={"keras": keras.__version__, backend: _version_of(backend)},
    )


def _classifier(trainee: Trainee, features: Floats) -> Classifier:
    """Return the head, calibrated on the held-out photos, whose features these are."""
    dataset = trainee.dataset
    kernel, bias = (np.asarray(array) for array in trainee.head.get_weights())
    about = {"n_photos": len(dataset.training), "on": "features"}
    network = asdict(NetworkSpec(MODEL))  # beside it: see load_classifier
    raw = Classifier(tuple(dataset.labels), kernel.T, bias, 1.0, 0.0, network, about)
    temperature, threshold = calibrate(raw.logits(features), dataset.validation.labels, _ACCURACY_WHEN_SURE)
    return replace(raw, temperature=temperature, threshold=threshold)


def _score_labels(dataset: Dataset, is_right: np.ndarray[Any, np.dtype[np.bool_]]) -> list[LabelScore]:
    n_labels = len(dataset.labels)
    n_training = np.bincount(dataset.training.labels, minlength=n_labels).tolist()
    n_validation = np.bincount(dataset.validation.labels, minlength=n_labels).tolist()
    n_right = np.bincount(dataset.validation.labels, weights=is_right, minlength=n_labels).tolist()
    rows = zip(dataset.labels, n_training, n_validation, n_right, strict=True)
    return [
        LabelScore(label, n, n_held, round(right / n_held, 4) if n_held else None)
        for label, n, n_held, right in rows
    ]


def _version_of(backend: str) -> str:
    module = sys.modules.get(backend)
    return str(getattr(module, "__version__", None) or version(backend))


def main() -> int:
    """Train as the command line says."""
    teller = Teller()
    return teller.run(lambda values, folder: train_in(folder, FinetuneOptions(**values), teller))


if __name__ == "__main__":
    sys.exit(main())
