"""A run's settings as the words of a command line: what is sent to a cluster is what would have run here."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from verger.errors import CloudError, SettingsError
from verger.kernel.networks.catalog import CATALOG, FRUITNET, IMAGENET, JOIN, NetworkSpec
from verger.kernel.networks.network import imagenet_file
from verger.settings import ENGINE, SPARK, Settings
from verger.storage.objects import object_path

_FILE_ENDINGS = (".h5", ".keras", ".onnx")
_WHERE = {"gcp": "gs://BUCKET/files/FILE", "databricks": "/Volumes/CATALOG/SCHEMA/VOLUME/FILE"}


def job_flags(settings: Settings, told_by: Mapping[str, str], groups: Collection[str]) -> tuple[str, ...]:
    """Return the flags that give a job these settings: all that are not defaults, wherever they come from.

    told_by: for each setting flag, environment, verger.toml or default (`settings.origins`).
    groups: those of the job's command; a flag of another one is a SettingsError. Raises CloudError for files of
    this machine.
    """
    words = []
    for name, origin in told_by.items():
        if origin == "default":
            continue
        value = getattr(settings, name)
        if _group(name) not in groups or _group(name) in (ENGINE, SPARK):  # the cluster decides how Spark starts
            if origin == "flag":
                raise SettingsError(name, value, "to be left out: this command has no such setting")
            continue
        _check_is_no_file(name, value)
        words += _words(name.replace("_", "-"), value)
    return tuple(words)


def _group(name: str) -> str:
    extra = Settings.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    return str(extra["group"])


def _words(flag: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [f"--{'' if value else 'no-'}{flag}"]
    if value is None:
        return []
    return [f"--{flag}", ",".join(value) if isinstance(value, tuple) else str(value)]


def uses_cloud_files(settings: Settings, provider: str) -> bool:
    """Tell whether a part of the network lies where the machines will look for it, and not this one."""
    return any(_is_in_cloud(name, provider) for name in _network(settings))


def files_to_upload(settings: Settings, provider: str) -> tuple[str, ...]:
    """Return the files of this machine that the network is made of. Raises CloudError where none can go along."""
    files = [name for name in _network(settings) if name.endswith(_FILE_ENDINGS)]
    carried = tuple(name for name in files if not _is_in_cloud(name, provider))
    if carried and provider in _WHERE:
        raise CloudError(
            f"files of this machine go along on aws alone: bring {', '.join(carried)} there, and name it as the "
            f"machines see it: {_WHERE[provider]}"
        )
    return carried


def _network(settings: Settings) -> list[str]:
    return [*settings.model.split(JOIN), settings.weights or ""]


def _is_in_cloud(name: str, provider: str) -> bool:
    """Tell whether it is in an object store, or in a volume of Databricks."""
    return object_path(name) is not None or (provider == "databricks" and name.startswith("/Volumes/"))


def replace_files(flags: Collection[str], uris: Mapping[str, str]) -> tuple[str, ...]:
    """Return the flags with the files in them called by where they are now; a network may be joined of several."""
    return tuple(uris.get(flag) or JOIN.join(uris.get(part, part) for part in flag.split(JOIN)) for flag in flags)


def with_weights_file(settings: Settings) -> Settings:
    """Return the settings with MobileNetV2's ImageNet weights as a file: machines have no way to Keras' server.

    Raises CloudError where the network's weights are of ImageNet and not at hand.
    """
    networks = [name for name in settings.model.split(JOIN) if name in CATALOG and name != FRUITNET]
    if not networks or settings.weights not in (None, IMAGENET):
        return settings
    file = imagenet_file()
    if settings.model == NetworkSpec.model and file.is_file():
        return settings.model_copy(update={"weights": str(file)})
    raise CloudError(
        f"the machines have no way to the ImageNet weights of {networks[0]}: name them by --weights FILE.h5 (Keras "
        f"keeps those that it has fetched in {file.parent}; on gcp and databricks a file there), or take "
        f"--model {FRUITNET}"
    )


def _check_is_no_file(name: str, value: object) -> None:
    """Raise CloudError where labels are in a file of this machine, which a cluster has not."""
    if name == "label" and str(value).startswith("csv:"):
        raise CloudError(f"label = {value!r} names a file of this machine, which a cluster has not")
