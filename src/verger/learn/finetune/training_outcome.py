"""The files that the processes of a fine-tuning exchange in their work folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

LISTING, WEIGHTS, SAMPLE, HISTORY = "listing", "weights.npz", "sample.npz", "history.json"
MODEL, PARITY = "model.keras", "parity.json"

_OUTCOME = "outcome.json"


@dataclass(frozen=True)
class LabelScore:
    """A label and its numbers of photos. accuracy: share of the validation photos named correctly; None without."""

    label: str
    n_training: int
    n_validation: int
    accuracy: float | None


@dataclass(frozen=True)
class TrainingOutcome:
    """The report of the training process. Accuracies and loss: of the best epoch, on held-out photos."""

    counts: dict[str, int]
    rejected: list[dict[str, str]]
    labels: list[LabelScore]
    best_epoch: int
    validation_accuracy: float
    validation_loss: float
    n_features: int
    weights_from: str
    versions: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> TrainingOutcome:
        """Return the outcome that the training process wrote to `folder`."""
        fields = json.loads((folder / _OUTCOME).read_text(encoding="utf-8"))
        return cls(**fields | {"labels": [LabelScore(**score) for score in fields["labels"]]})

    def write(self, folder: Path) -> None:
        """Write the outcome to `folder`."""
        (folder / _OUTCOME).write_text(json.dumps(asdict(self)), encoding="utf-8")
