"""The flags of a job on a cluster, which give the job the same settings as the command on this machine has."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from verger.errors import CloudError, SettingsError
from verger.kernel.networks.catalog import CATALOG, FRUITNET, IMAGENET, JOIN, NetworkSpec
from verger.kernel.networks.network import imagenet_file
from verger.settings import ENGINE, EXPORT, NETWORK, PHOTOS, REDUCTION, RESULT, RESUME, SPARK, Settings
from verger.storage.objects import object_path

# The settings of a job. The cluster sets the engine and Spark settings itself.
JOB_SETTING_GROUPS = (PHOTOS, NETWORK, REDUCTION, EXPORT, RESULT, RESUME)

_FILE_ENDINGS = (".h5", ".keras", ".onnx")
_REMOTE_FILES = {"gcp": "gs://BUCKET/files/FILE", "databricks": "/Volumes/CATALOG/SCHEMA/VOLUME/FILE"}


def job_flags(settings: Settings, origins: Mapping[str, str], groups: Collection[str]) -> tuple[str, ...]:
    """Return flags for all settings that do not have their default values.

    origins: for each setting, the origin of its value: flag, environment, verger.toml, default
    (`settings.origins`).
    groups: the groups of settings that the job's command has. Raises SettingsError for a flag of another group, and
    CloudError for a setting that names a local file.
    """
    flags = []
    for name, origin in origins.items():
        if origin == "default":
            continue
        value = getattr(settings, name)
        if _group(name) not in groups or _group(name) in (ENGINE, SPARK):  # the cluster decides how Spark starts
            if origin == "flag":
                raise SettingsError(name, value, "no value, because the job's command does not have this setting")
            continue
        if name == "label" and str(value).startswith("csv:"):
            raise CloudError(f"label = {value!r} names a file on this machine, which the cluster cannot read")
        flags += _flag(name.replace("_", "-"), value)
    return tuple(flags)


def _group(name: str) -> str:
    extra = Settings.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    return str(extra["group"])


def _flag(name: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [f"--{'' if value else 'no-'}{name}"]
    if value is None:
        return []
    return [f"--{name}", ",".join(value) if isinstance(value, tuple) else str(value)]


def uses_cloud_files(settings: Settings, provider: str) -> bool:
    """Return whether a file of the network is in cloud storage; only the cluster can check such a file."""
    return any(_is_in_cloud(name, provider) for name in _network_parts(settings))


def files_to_upload(settings: Settings, provider: str) -> tuple[str, ...]:
    """Return the local files of the network. Raises CloudError if verger cannot upload files to this cloud."""
    files = [name for name in _network_parts(settings) if name.endswith(_FILE_ENDINGS)]
    local = tuple(name for name in files if not _is_in_cloud(name, provider))
    if local and provider in _REMOTE_FILES:
        raise CloudError(
            f"`submit` uploads local files only on aws: copy {', '.join(local)} to the cloud yourself, and pass "
            f"the path in the cloud, such as {_REMOTE_FILES[provider]}"
        )
    return local


def _network_parts(settings: Settings) -> list[str]:
    return [*settings.model.split(JOIN), settings.weights or ""]


def _is_in_cloud(name: str, provider: str) -> bool:
    """Return whether a file is in an object store or in a Databricks volume."""
    return object_path(name) is not None or (provider == "databricks" and name.startswith("/Volumes/"))


def replace_files(flags: Collection[str], uris: Mapping[str, str]) -> tuple[str, ...]:
    """Return the flags with each local file replaced by its URI; a joined network's flag names several files."""
    return tuple(uris.get(flag) or JOIN.join(uris.get(part, part) for part in flag.split(JOIN)) for flag in flags)


def with_weights_file(settings: Settings) -> Settings:
    """Return the settings; if they need MobileNetV2's ImageNet weights, these are set to the file on this machine.

    The cluster cannot download weights, and has no extras of verger. Raises CloudError if the file is missing, and
    for other ImageNet weights.
    """
    networks = [name for name in settings.model.split(JOIN) if name in CATALOG and not _is_on_nodes(name)]
    if not networks or settings.weights not in (None, IMAGENET):
        return settings
    if CATALOG[networks[0]].extra:
        raise CloudError(
            f"the machines do not have the weights of {networks[0]}: use --model EfficientNetLite2, or --model "
            f"{FRUITNET}"
        )
    file = imagenet_file()
    if settings.model == NetworkSpec.model and file.is_file():
        return settings.model_copy(update={"weights": str(file)})
    raise CloudError(
        f"the machines cannot download the ImageNet weights of {networks[0]}: use --weights FILE.h5 (Keras keeps "
        f"downloads in {file.parent}; on gcp and databricks, first copy the file to the cloud), or use "
        f"--model {FRUITNET}"
    )


def _is_on_nodes(model: str) -> bool:
    """Return whether the nodes have the default weights of a network: those that every installation has."""
    entry = CATALOG[model]
    return not entry.is_from_keras and not entry.extra
