"""The network that the settings describe: `--model`, `--weights` and the options beside them."""

from __future__ import annotations

import hashlib

from verger.errors import WeightsError
from verger.kernel.networks.catalog import AUTO, FRUITNET, JOIN, USER_GRAPH_SUFFIXES, NetworkSpec
from verger.kernel.networks.network import imagenet_file
from verger.settings import Settings
from verger.storage.atomic import write_atomically
from verger.storage.cache import cache_dir
from verger.storage.objects import object_path


def network_spec(settings: Settings) -> NetworkSpec:
    """Return the network that the settings describe; raises SettingsError.

    Files in an object store are first copied to the cache, because Keras reads only local files.
    """
    s = settings
    model = _default_model(s) if s.model == AUTO else s.model
    weights = _local_copy(s.weights) if s.weights else None
    model = JOIN.join(_local_copy(part) for part in model.split(JOIN))
    return NetworkSpec(model, weights, s.pooling, s.precision, s.preprocessing, s.views)


def network_files(settings: Settings) -> list[str]:
    """Return the files of networks and weights that the settings name."""
    names = {settings.model, *settings.model.split(JOIN), settings.weights or ""}
    return [name for name in sorted(names) if name.endswith((*USER_GRAPH_SUFFIXES, ".h5"))]


def describe_choice(spec: NetworkSpec) -> str:
    """Return one line that names the network chosen by default, and explains how to choose another."""
    if spec.is_bundled:
        return f"network: {spec.model}, bundled with verger (--model MobileNetV2 for the ImageNet one)"
    return f"network: {spec.model} (--model fruitnet for verger's own, several times faster)"


def _default_model(settings: Settings) -> str:
    """Return the model for `--model auto`.

    If --weights is the file of a whole model, this file is the model. MobileNetV2 is chosen if its weights are on
    this machine, or if fruitnet does not support one of the given settings. Otherwise fruitnet is chosen.
    """
    if settings.weights and settings.weights.endswith(USER_GRAPH_SUFFIXES):
        return settings.weights
    excludes_fruitnet = settings.weights or settings.preprocessing or settings.pooling != "avg"
    return NetworkSpec.model if excludes_fruitnet or imagenet_file().is_file() else FRUITNET


def _local_copy(file: str) -> str:
    """Return the path of a local copy of a file in an object store; return any other name unchanged."""
    path = object_path(file)
    if path is None:
        return file
    try:
        entry = path.find()
    except FileNotFoundError as error:
        raise WeightsError(str(error)) from None
    version = hashlib.sha256(f"{path} {entry.length} {entry.modified_us}".encode()).hexdigest()[:32]
    copy = cache_dir() / "weights" / version / path.name
    if not copy.is_file():
        with write_atomically(copy) as temporary:
            temporary.write_bytes(path.read_bytes())
    return str(copy)
