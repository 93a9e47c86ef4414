"""READ FIRST: fine-tuning. Labelled photos -> a model for `verger features`, and a classifier for its features.

Keras runs in two child processes. The first trains the model, with a Keras backend that supports training. The
second saves the model in the layout in which inference is fast, and checks that verger's inference gives the same
vectors as the trained model.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from verger.kernel.classifier.classifier import FILE_NAME as CLASSIFIER
from verger.learn.finetune.finetune_options import FinetuneOptions
from verger.learn.finetune.finetune_report import FACTS, write_finetune_report
from verger.learn.finetune.keras_process import find_training_backend, run_keras_process
from verger.learn.finetune.training_outcome import HISTORY, LISTING, MODEL, PARITY, TrainingOutcome
from verger.process.progress import Progress
from verger.sources.partitions import Selection, list_photo_files
from verger.storage.commit import check_not_read, stage_result
from verger.storage.hashing import hash_file
from verger.storage.manifest import Manifest

_WORK = "work"


@dataclass(frozen=True)
class FinetuneResult:
    """The result of a fine-tuning. validation_accuracy: accuracy of the best epoch on the held-out photos."""

    model: Path
    labels: list[str]
    n_training: int
    n_validation: int
    n_rejected: int
    best_epoch: int
    validation_accuracy: float
    total_s: float


def finetune(
    photos: str, out: Path, options: FinetuneOptions, progress: Progress, overwrite: bool = False
) -> FinetuneResult:
    """Train on `photos` (one folder per label); write the model, its classifier and a report to `out`.

    Raises SetupError without a Keras backend that can train, SourceError if there are too few photos or labels,
    WeightsError if the start weights are not available, ResultError if `out` exists or contains an input.
    """
    started = time.monotonic()
    check_not_read(out, [photos, *([options.weights] if options.weights.endswith(".h5") else [])])
    backend = find_training_backend()
    manifest = Manifest.start("finetune", photos, asdict(options))
    with stage_result(out, overwrite=overwrite) as stage:
        work = stage / _WORK
        work.mkdir()
        progress.stage("list photos")
        with manifest.timed("list"):
            manifest.counts["listed"] = list_photo_files(photos, Selection(), work / LISTING).n_photos
        with manifest.timed("train"):
            run_keras_process(f"{__package__}.training_process", backend, options, work, progress)
        progress.stage("save model")
        with manifest.timed("save"):
            run_keras_process(f"{__package__}.saving_process", "openvino", options, work, progress)
        for name in (MODEL, CLASSIFIER, HISTORY):
            (work / name).rename(stage / name)
        outcome = TrainingOutcome.read(work)
        manifest.parity = json.loads((work / PARITY).read_text())
        shutil.rmtree(work)
        manifest.timings_s["total"] = round(time.monotonic() - started, 3)
        _write_facts(stage, options, outcome, manifest)
        write_finetune_report(stage, title=out.name)
    return _summarize(out, outcome, manifest)


def _write_facts(stage: Path, options: FinetuneOptions, outcome: TrainingOutcome, manifest: Manifest) -> None:
    """Complete the manifest; write manifest.json and finetune.json to `stage`."""
    n_rejected = len(outcome.rejected)
    reasons = Counter(photo["reason"] for photo in outcome.rejected)
    manifest.counts |= outcome.counts
    manifest.counts |= {"rejected": n_rejected, "rejected_by_reason": dict(reasons.most_common())}
    # Validation photos are left out if no training photo of their label can be read.
    manifest.counts["left_out"] = manifest.counts["listed"] - sum(outcome.counts.values()) - n_rejected
    manifest.counts["labels"] = len(outcome.labels)
    manifest.versions |= outcome.versions
    manifest.network = {
        "model": options.model,
        "weights_from": outcome.weights_from,
        "size_px": [options.input_px, options.input_px],
        "n_features": outcome.n_features,
        "saved_sha256": hash_file(stage / MODEL),
    }
    facts = {
        "source": manifest.source,
        "created": manifest.created,
        "settings": manifest.settings,
        "network": manifest.network,
        "counts": manifest.counts,
        "best_epoch": outcome.best_epoch,
        "validation_accuracy": outcome.validation_accuracy,
        "validation_loss": outcome.validation_loss,
        "labels": [asdict(score) for score in outcome.labels],
        "rejected": outcome.rejected,
        "parity": manifest.parity,
        "versions": {"verger": manifest.verger, **manifest.versions},
        "seconds": manifest.timings_s,
    }
    (stage / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    manifest.write(stage)


def _summarize(out: Path, outcome: TrainingOutcome, manifest: Manifest) -> FinetuneResult:
    return FinetuneResult(
        model=out / MODEL,
        labels=[score.label for score in outcome.labels],
        n_training=outcome.counts["training"],
        n_validation=outcome.counts["validation"],
        n_rejected=len(outcome.rejected),
        best_epoch=outcome.best_epoch,
        validation_accuracy=outcome.validation_accuracy,
        total_s=manifest.timings_s["total"],
    )
