"""Building keras.applications models with weights: ImageNet, from a file, or random."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlretrieve

import numpy as np

from verger.errors import WeightsError
from verger.kernel.networks.catalog import CATALOG, IMAGENET, NetworkSpec
from verger.storage.atomic import write_atomically
from verger.storage.cache import keras_home
from verger.storage.hashing import hash_file


@dataclass(frozen=True)
class WeightsSource:
    """Origin of weights, and the SHA-256 of the file with the weights (or of the arrays if there is no file)."""

    weights_from: str
    weights_sha256: str


def build(spec: NetworkSpec) -> Any:
    """Build the catalog architecture as a Keras model without weights, channels-first if possible."""
    import keras

    for data_format in ("channels_first", "channels_last"):
        keras.backend.set_image_data_format(data_format)
        try:
            return _build(spec, data_format, weights=None)
        except (ValueError, NotImplementedError):
            if data_format == "channels_last":
                raise
            keras.backend.clear_session()
    raise AssertionError("unreachable")


def _build(spec: NetworkSpec, data_format: str, weights: str | None) -> Any:
    import keras

    size = CATALOG[spec.model].size_px
    is_first = data_format == "channels_first"
    model = getattr(keras.applications, spec.model)(
        include_top=False,
        weights=weights,
        input_shape=(3, size, size) if is_first else (size, size, 3),
        pooling=None if spec.pooling == "flatten" else spec.pooling,
    )
    if spec.pooling != "flatten":
        return model
    maps = keras.layers.Permute((2, 3, 1))(model.output) if is_first else model.output
    return keras.Model(model.input, keras.layers.Flatten(data_format="channels_last")(maps))


def build_with_weights(spec: NetworkSpec) -> tuple[Any, WeightsSource]:
    """Build the catalog architecture with the weights of `spec`; raises WeightsError."""
    model = build(spec)
    if spec.effective_weights == IMAGENET:
        return _with_imagenet(spec)
    weights = spec.effective_weights
    if weights.startswith("random:"):
        seed_weights(model, int(weights.removeprefix("random:")))
        return model, WeightsSource(weights, _weights_sha256(model))
    path = Path(weights)
    try:
        model.load_weights(path)
    except Exception as error:  # h5py and Keras raise OSError, ValueError, KeyError, TypeError, ...
        raise WeightsError(
            f"weights = {weights!r} do not fit {spec.model} without its top layers: {error}"
        ) from error
    return model, WeightsSource(weights, hash_file(path))


def _with_imagenet(spec: NetworkSpec) -> tuple[Any, WeightsSource]:
    import keras

    used: list[str] = []
    _record_files(used)
    try:
        model = _build(spec, keras.backend.image_data_format(), weights="imagenet")
    except (URLError, OSError, ValueError) as error:
        # If a download fails, Keras may also raise a plain Exception, see below.
        raise WeightsError(_no_imagenet(spec.model, error)) from error
    except Exception as error:
        if "URL fetch failure" not in str(error):
            raise
        raise WeightsError(_no_imagenet(spec.model, error)) from error
    return model, WeightsSource(f"imagenet ({Path(used[-1]).name})", hash_file(Path(used[-1])))


def _record_files(used: list[str]) -> None:
    """Patch Keras so that it downloads safely, and adds the path of each weights file that it uses to `used`."""
    from keras.src.utils import file_utils

    get_file = file_utils.get_file

    def get_and_record(*args: Any, **kwargs: Any) -> str:
        path = str(get_file(*args, **kwargs))
        used.append(path)
        return path

    file_utils.get_file = get_and_record
    file_utils.urlretrieve = _download


def _download(origin: str, target: str, *more: Any) -> None:
    """Download a file as urlretrieve does; the file has a temporary name until it is complete.

    Keras itself downloads to the final name, and removes the file only after an exception. If the process is killed
    during a download, Keras would later use the partial file as weights.
    """
    with write_atomically(Path(target)) as temporary:
        urlretrieve(origin, temporary, *more)  # noqa: S310  # the addresses come from Keras


def _no_imagenet(model: str, error: Exception) -> str:
    return (
        f"no ImageNet weights for {model}: they are not in Keras' cache ({keras_home() / 'models'}), and the "
        f"download failed ({error}). Connect to the internet once, or put the file into this cache (KERAS_HOME is "
        "the folder that contains models/), or use --weights PATH, or --weights random:0 for a test run"
    )


def seed_weights(model: Any, seed: int) -> None:
    """Set random weights from `seed`, the same on every backend and for every data format.

    Kernels are He-normal (He et al. 2015, arXiv:1502.01852). With SiLU activations the gain is larger, because SiLU
    halves small signals, and the output of a deep network must still depend on the photo. Other weights are Keras'
    initial values plus noise, so that tests detect a missing batch norm.
    """
    rng = np.random.default_rng(seed)
    activations = {getattr(getattr(layer, "activation", None), "__name__", "") for layer in model.layers}
    gain = 4.0 if "silu" in activations else 2.0
    model.set_weights([_seeded(rng, np.asarray(start), gain) for start in model.get_weights()])


def _seeded(rng: np.random.Generator, start: np.ndarray, gain: float) -> np.ndarray:
    if not np.issubdtype(start.dtype, np.floating):
        return start
    if start.ndim >= 2:
        is_depthwise = start.ndim == 4 and start.shape[-1] == 1
        fan_in = np.prod(start.shape[:2]) if is_depthwise else np.prod(start.shape[:-1])
        return rng.normal(0.0, np.sqrt(gain / fan_in), start.shape).astype(start.dtype)
    return (start + rng.uniform(-0.1, 0.1, start.shape)).astype(start.dtype)


def _weights_sha256(model: Any) -> str:
    digest = hashlib.sha256()
    for array in model.get_weights():
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
