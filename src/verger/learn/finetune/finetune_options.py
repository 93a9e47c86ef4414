"""Options of a fine-tuning, validated when they are created."""

from __future__ import annotations

from dataclasses import dataclass

from verger.errors import SettingsError
from verger.kernel.decode import DEFAULT_MAX_PIXELS
from verger.kernel.networks.catalog import CATALOG, USER_GRAPH_SUFFIXES, NetworkSpec

_MIN_SIZE_PX = 32  # the smallest input size of the networks in the catalog
_WEIGHTS = ("imagenet", "random:SEED", "a .h5 file of the model without its top layers")


@dataclass(frozen=True)
class FinetuneOptions:
    """Options of a fine-tuning: what to train, and how.

    model: a network of keras.applications, by its name in the catalog.
    weights: the start weights: "imagenet", "random:SEED" or a .h5 file.
    head_epochs: epochs of the first stage, which trains the new head on the frozen backbone.
    epochs: epochs of the second stage, which also trains the upper layers of the backbone.
    learning_rate: the maximum learning rate of the second stage; after this maximum, the rate falls to 0 (cosine).
    validation: the share of each label's photos that is held out.
    size_px: width and height of the network's input; None for the size in the catalog.
    unfreeze: the share of the backbone's layers that the second stage trains, counted from the top.
    patience: a stage ends after this number of epochs without a lower validation loss.
    """

    model: str = "MobileNetV2"
    weights: str = "imagenet"
    head_epochs: int = 3
    epochs: int = 10
    learning_rate: float = 1e-4
    validation: float = 0.2
    seed: int = 0
    size_px: int | None = None
    unfreeze: float = 0.35
    batch_size: int = 32
    patience: int = 4
    max_pixels: int = DEFAULT_MAX_PIXELS

    def __post_init__(self) -> None:
        self._check_network()
        self._check("head_epochs", self.head_epochs >= 0, "0 or more")
        self._check("epochs", self.epochs >= 0, "0 or more")
        self._check("epochs", self.head_epochs + self.epochs > 0, "1 or more if head_epochs is 0")
        self._check("learning_rate", 0 < self.learning_rate <= 1, "over 0 and at most 1; 0.0001 is typical")
        self._check("validation", 0 < self.validation < 1, "a share between 0 and 1, like 0.2")
        self._check("seed", self.seed >= 0, "0 or more")
        self._check("size_px", self.input_px >= _MIN_SIZE_PX, f"{_MIN_SIZE_PX} or more")
        self._check("unfreeze", 0 <= self.unfreeze <= 1, "a share from 0 to 1")
        self._check("unfreeze", self.unfreeze > 0 or self.head_epochs > 0, "over 0 if head_epochs is 0")
        self._check("batch_size", self.batch_size >= 1, "1 or more")
        self._check("patience", self.patience >= 1, "1 or more")

    def _check_network(self) -> None:
        trainable = [name for name, entry in CATALOG.items() if entry.is_from_keras]
        self._check("model", self.model in trainable, "one of " + ", ".join(trainable))
        is_graph = self.weights.endswith(USER_GRAPH_SUFFIXES)
        self._check("weights", not is_graph, "one of " + ", ".join(_WEIGHTS))
        NetworkSpec(self.model, self.weights)

    def _check(self, key: str, is_valid: bool, expected: str) -> None:
        if not is_valid:
            raise SettingsError(key, getattr(self, key), expected)

    @property
    def input_px(self) -> int:
        """Width and height of the network's input."""
        return CATALOG[self.model].size_px if self.size_px is None else self.size_px
