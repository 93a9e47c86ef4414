"""What the processes of a fine-tuning hand each other, as files in one folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

LISTING, WEIGHTS, SAMPLE, HISTORY = "listing", "weights.npz", "sample.npz", "history.json"
MODEL, PARITY = "model.keras", "parity.json"

_OUTCOME = "outcome.json"


@dataclass(frozen=True)
class LabelScore:
    """How many photos of a label were trained and validated on, and the share of the latter that was named."""

    label: str
    n_training: int
    n_validation: int
    accuracy: float | None


@dataclass(frozen=True)
class Outcome:
    """What a training tells whoever started it; the accuracies are of the best epoch, on held-out photos."""

    counts: dict[str, int]
    rejected_by_reason: dict[str, int]
    rejected: list[dict[str, str]]
    labels: list[LabelScore]
    best_epoch: int
    validation_accuracy: float
    validation_loss: float
    n_features: int
    weights_from: str
    versions: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> Outcome:
        """Return what a worker left in `folder`."""
        told = json.loads((folder / _OUTCOME).read_text(encoding="utf-8"))
        return cls(**told | {"labels": [LabelScore(**score) for score in told["labels"]]})

    def write(self, folder: Path) -> None:
        """Leave it in `folder`."""
        (folder / _OUTCOME).write_text(json.dumps(asdict(self)), encoding="utf-8")
