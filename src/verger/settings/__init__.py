"""The settings of a run.

A setting gets its value from the first of these sources that has one: a flag (--model VGG16), an environment
variable (VERGER_MODEL=VGG16), a key of verger.toml in the working directory (model = "VGG16"), the default.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import EnvSettingsSource, NoDecode

from verger.errors import SettingsError
from verger.photo_names import PHOTO_GLOBS
from verger.settings.spark_master import check_master
from verger.settings.toml_table import TOML_FILE, TableSettings, TomlTable, load_settings_of

EXPORT_FORMATS = ("csv", "json")


def _split(value: object) -> object:
    """Split the comma-separated text of a flag or an environment variable into a tuple."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _split_pairs(value: object) -> object:
    """Split comma-separated key=value pairs. The values may contain commas."""
    if isinstance(value, str):
        return tuple(re.split(r",\s*(?=[\w.-]+=)", value.strip())) if value.strip() else ()
    return value


def _fraction(value: object) -> object:
    """Convert 5% to 0.05."""
    if isinstance(value, str) and value.strip().endswith("%"):
        return float(value.strip().removesuffix("%")) / 100
    return value


Fraction = Annotated[float, BeforeValidator(_fraction), Field(ge=0, le=1)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Pairs = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_pairs)]

PHOTOS, NETWORK, REDUCTION, SPARK = "Photos", "Network", "Reduction", "Spark"
EXPORT, RESULT, RESUME, PRIVACY, PACK, ENGINE = "Export", "Result", "Resume", "Privacy", "Pack", "Engine"

# The groups of settings that each command of the pipeline uses, on this machine or in `verger cloud submit`.
SETTING_GROUPS: dict[str, tuple[str, ...]] = {
    "run": (PHOTOS, NETWORK, REDUCTION, EXPORT, RESULT, RESUME, ENGINE, SPARK),
    "features": (PHOTOS, NETWORK, EXPORT, RESULT, RESUME, ENGINE, SPARK),
    "pack": (PHOTOS, PACK, PRIVACY, RESULT, ENGINE, SPARK),
    "reduce": (REDUCTION, EXPORT, RESULT, ENGINE, SPARK),
}

ENGINES = ("local", "spark")
DEFAULT_MASTER = "local[*]"

# Measured by benchmarks/precision.py: MobileNetV2, 1,030 photos of fruits360-test, a processor with AVX-512 BF16.
BF16_FIDELITY = "1.7 times as fast, not exact (cosine to f32: mean 0.978, lowest 0.921)"

VIEWS_HELP = (
    "parts of the photo whose vectors are averaged. whole: the whole photo; center: the middle, 75 % of the width "
    "and height; crops: the middle and four corners of 60 %, which overlap; 5: the whole photo and four corners of "
    "80 %. Five views take longer and are often more accurate"
)


def setting(group: str, default: Any, help: str, **limits: Any) -> Any:
    """Return a field of settings. The command line shows `help` under the heading `group`."""
    return Field(default, description=help, json_schema_extra={"group": group}, **limits)


class Settings(TableSettings):
    """The settings of a run. Each field is also a flag, an environment variable and a key of verger.toml."""

    glob: Words = setting(PHOTOS, PHOTO_GLOBS, "file name patterns of photos, separated by commas; case is ignored")
    label: str = setting(PHOTOS, "parent", "label of a photo: parent (folder), none, regex:PATTERN or csv:FILE")
    limit: int | None = setting(PHOTOS, None, "use only the first N photos", ge=1)
    sample: Fraction | None = setting(PHOTOS, None, "use this share of the photos: 0.05 or 5%", gt=0)
    max_megapixels: float = setting(PHOTOS, 50, "reject larger photos before decoding them", gt=0)
    max_rejected: Fraction = setting(PHOTOS, 1.0, "exit with code 3 if more photos are rejected: 0.05 or 5%")

    model: str = setting(
        NETWORK,
        "auto",
        "a name from `verger models`, a .keras or .onnx file, or several joined by +; auto: MobileNetV2 if its "
        "ImageNet weights are in Keras' cache, otherwise the bundled fruitnet",
    )
    weights: str | None = setting(
        NETWORK, None, "imagenet, random:SEED, or a .h5, .keras or .onnx file; by default the weights of the model"
    )
    pooling: Literal["avg", "max", "flatten"] = setting(NETWORK, "avg", "avg, max or flatten")
    precision: Literal["f32", "bf16"] = setting(NETWORK, "f32", f"f32, or bf16: {BF16_FIDELITY}")
    preprocessing: Literal["none", "tf", "caffe", "torch", "lite"] | None = setting(
        NETWORK,
        None,
        "none, tf, caffe, torch or lite; by default that of the catalog; for a model of your own, none",
    )

    views: str = setting(NETWORK, "whole", VIEWS_HELP, coerce_numbers_to_str=True)

    decode: Literal["exact", "scaled"] = setting(
        NETWORK,
        "exact",
        "exact; or scaled: decode large JPEGs at a reduced scale, about 3 times as fast on photos of 12 megapixels "
        "(cosine to exact at least 0.999); small photos give identical features",
    )

    device: Literal["cpu", "cuda", "onnx"] = setting(
        NETWORK,
        "cpu",
        "cpu: OpenVINO; cuda: ONNX Runtime on NVIDIA GPUs, not yet tested on one (docs/gpu.md); "
        "onnx: ONNX Runtime on the processor, for tests",
    )
    batch_size: int | None = setting(
        NETWORK, None, "photos per inference call with --device cuda (64 by default) or onnx (4)", ge=1
    )

    components: int | None = setting(REDUCTION, None, "number of components to keep", ge=1)
    variance: float | None = setting(
        REDUCTION,
        None,
        "keep the smallest number of components that explains this share of the variance (0.9 by default)",
        gt=0,
        le=1,
    )
    standardize: bool = setting(REDUCTION, False, "divide each feature by its standard deviation first")

    export: Words = setting(EXPORT, (), "also write csv, json or both (csv,json)")
    single_file: bool = setting(
        EXPORT, False, "write components, CSV and JSON as one file each; features/ keeps one file per task"
    )
    format: Literal["parquet", "delta"] = setting(
        EXPORT, "parquet", "format of the tables; delta keeps earlier versions (verger history OUT)"
    )
    history_days: int = setting(EXPORT, 30, "days for which earlier versions of Delta tables can be read", ge=0)
    overwrite: bool = setting(RESULT, False, "replace an existing result when the new one is complete")
    report: bool = setting(RESULT, True, "write report.html")

    resume: bool = setting(
        RESUME,
        False,
        "finish an interrupted run, or compute only new and changed photos; features in OUT that were computed "
        "with other settings are replaced only with --overwrite",
    )
    prune: bool = setting(RESUME, False, "with --resume: remove photos that are no longer in the source")

    keep_metadata: bool = setting(
        PRIVACY,
        False,
        "do not remove metadata (location, time, camera, names) from packed photos (docs/privacy.md)",
    )

    max_side: int | None = setting(PACK, None, "write smaller copies: maximum pixels of the longer side", ge=64)

    engine: Literal["local", "spark"] | None = setting(
        ENGINE,
        None,
        "local: processes on this machine, without Java; spark: a Spark master. By default local; spark with "
        "--master, inside a running Spark, and for sources that only Spark can read",
    )
    workers: int | None = setting(ENGINE, None, "processes of the local engine; by default one per core", ge=1)
    photo_timeout_s: float = setting(
        ENGINE,
        300,
        "stop reading or decoding a photo after this number of seconds, and reject it; `pack` sets it aside "
        "(docs/privacy.md)",
        gt=0,
    )

    master: str | None = setting(
        SPARK,
        None,
        "Spark master: local[*], local[N], spark://HOST:PORT, yarn, k8s://URL or sc://HOST:PORT; "
        f"{DEFAULT_MASTER} by default with --engine spark",
    )
    driver_memory: str = setting(SPARK, "2g", "memory of the Spark driver")
    conf: Pairs = setting(SPARK, (), "a Spark setting, key=value; may be repeated")
    verbose: bool = setting(SPARK, False, "show Spark's log")

    @field_validator("label")
    @classmethod
    def _check_label(cls, value: str) -> str:
        kind, _, rest = value.partition(":")
        if value in ("parent", "none") or (kind == "csv" and rest):
            return value
        with suppress(re.error):
            if kind == "regex" and re.compile(rest).groups == 1:
                return value
        raise ValueError("parent, none, regex:PATTERN with one group, or csv:FILE")

    @field_validator("master")
    @classmethod
    def _check_master(cls, value: str | None) -> str | None:
        return None if value is None else check_master(value)

    @field_validator("export")
    @classmethod
    def _check_export(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if set(value) - set(EXPORT_FORMATS):
            raise ValueError("one or more of " + ", ".join(EXPORT_FORMATS))
        return value

    @field_validator("conf")
    @classmethod
    def _check_conf(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any("=" not in pair for pair in value):
            raise ValueError("key=value pairs")
        return value

    @model_validator(mode="after")
    def _check_combinations(self) -> Settings:
        if self.prune and not self.resume:
            raise SettingsError("prune", self.prune, "false without --resume: a new result has no photos to remove")
        if self.components is not None and self.variance is not None:
            raise SettingsError("components", self.components, "either components or variance, not both")
        return self

    @property
    def variance_kept(self) -> float | None:
        """The share of variance to keep; None if the setting `components` is used instead."""
        return None if self.components is not None else (self.variance or 0.9)

    @property
    def max_pixels(self) -> int:
        """The maximum number of pixels of a photo."""
        return int(self.max_megapixels * 1e6)


def load_settings(**flags: Any) -> Settings:
    """Return the settings from flags, environment and verger.toml; None is no value. Raises SettingsError."""
    return load_settings_of(Settings, **flags)


def origins(**flags: Any) -> dict[str, str]:
    """Return the origin of each setting's value: flag, environment, verger.toml or default."""
    env = EnvSettingsSource(Settings)()
    toml = TomlTable(Settings)()
    layers = {"flag": {k for k, v in flags.items() if v is not None}, "environment": env, TOML_FILE: toml}
    return {
        key: next((name for name, layer in layers.items() if key in layer), "default")
        for key in Settings.model_fields
    }
