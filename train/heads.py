"""A linear classifier on the teacher's vectors, fitted to a pool's labels.

Its softened predictions are better training targets than labels (Hinton, Vinyals and Dean 2015, arXiv:1503.02531),
and exist for mixed views too.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

from train.pool import NO_LABEL

_EPOCHS = 12
_WEIGHT_DECAY = 0.05
_TEMPERATURE = 2.0

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Head:
    """Multinomial regression on standardised teacher vectors: kernel (n_teacher, n_classes), bias."""

    kernel: Floats
    bias: Floats

    def __call__(self, teacher: Floats) -> Floats:
        """Return (n, n_classes) softened probabilities, which also show what else a view resembles."""
        logits = (teacher @ self.kernel + self.bias) / _TEMPERATURE
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def fit_head(teacher: Floats, labels: Labels, n_classes: int) -> Head:
    """Fit on the labelled rows of (n, n_teacher) standardised vectors; without labels all classes are equal."""
    rows = np.flatnonzero(labels != NO_LABEL)
    if not len(rows):
        return Head(np.zeros((teacher.shape[1], n_classes), np.float32), np.zeros(n_classes, np.float32))
    layer = keras.layers.Dense(n_classes)
    model = keras.Sequential([keras.Input((teacher.shape[1],)), layer])
    model.compile(
        keras.optimizers.AdamW(1e-3, weight_decay=_WEIGHT_DECAY),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(teacher[rows], labels[rows], batch_size=256, epochs=_EPOCHS, verbose=0)
    kernel, bias = layer.get_weights()
    return Head(kernel, bias)
