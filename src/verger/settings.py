"""The settings of a run: frozen, loaded once, handed down.

A value comes from, in this order: flag, environment (VERGER_MODEL=VGG16), verger.toml in the working
folder, default.
"""

from __future__ import annotations

import re
import tomllib
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from verger.errors import SettingsError
from verger.spark_master import check_master

TOML_FILE = "verger.toml"
ENV_PREFIX = "VERGER_"
EXPORT_FORMATS = ("csv", "json")
PHOTO_GLOBS = ("*.jpg", "*.jpeg", "*.png", "*.webp", "*.bmp", "*.gif", "*.tif", "*.tiff")


def _split(value: object) -> object:
    """Let one comma-separated text stand for a list, as flags and the environment give it."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _split_pairs(value: object) -> object:
    """The same for key=value pairs, whose values may hold commas."""
    if isinstance(value, str):
        return tuple(re.split(r",\s*(?=[\w.-]+=)", value.strip())) if value.strip() else ()
    return value


def _fraction(value: object) -> object:
    """Read 5% as 0.05."""
    if isinstance(value, str) and value.strip().endswith("%"):
        return float(value.strip().removesuffix("%")) / 100
    return value


Fraction = Annotated[float, BeforeValidator(_fraction), Field(ge=0, le=1)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Pairs = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_pairs)]

PHOTOS, NETWORK, REDUCTION, SPARK = "Photos", "Network", "Reduction", "Spark"
EXPORT, RESULT, RESUME, PRIVACY, PACK, ENGINE = "Export", "Result", "Resume", "Privacy", "Pack", "Engine"

ENGINES = ("local", "spark")
DECODE_MODES = ("exact", "scaled")
DEFAULT_MASTER = "local[*]"

# benchmarks/precision.py: MobileNetV2, 1,030 photos of fruits360-test, a processor with AVX-512 BF16
BF16_FIDELITY = "1.7 times as fast, not exact (cosine to f32: mean 0.978, lowest 0.921)"


def _setting(group: str, default: Any, told: str, **limits: Any) -> Any:
    """Return a field; its group and words are the command line's help."""
    return Field(default, description=told, json_schema_extra={"group": group}, **limits)


class Settings(BaseSettings):
    """What a run does. Each field is a flag of the command line too."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, toml_file=TOML_FILE, frozen=True, extra="forbid", env_ignore_empty=True
    )

    glob: Words = _setting(PHOTOS, PHOTO_GLOBS, "which files are photos: comma-separated, any case")
    label: str = _setting(PHOTOS, "parent", "label of a photo: parent (folder), none, regex:PATTERN or csv:FILE")
    limit: int | None = _setting(PHOTOS, None, "take the first N photos only", ge=1)
    sample: Fraction | None = _setting(PHOTOS, None, "take this share of the photos: 0.05 or 5%", gt=0)
    max_megapixels: float = _setting(PHOTOS, 50, "reject larger photos, before they are unpacked", gt=0)
    max_rejected: Fraction = _setting(PHOTOS, 1.0, "exit with code 3 beyond this share: 5% or 0.05")

    model: str = _setting(
        NETWORK,
        "auto",
        "name from `verger models`, or a .keras or .onnx file, or several joined by +; auto is MobileNetV2 where "
        "its ImageNet weights are at hand, else the bundled fruitnet",
    )
    weights: str | None = _setting(
        NETWORK, None, "imagenet, random:SEED, or a .h5, .keras or .onnx file; the model's own by default"
    )
    pooling: Literal["avg", "max", "flatten"] = _setting(NETWORK, "avg", "avg, max or flatten")
    precision: Literal["f32", "bf16"] = _setting(NETWORK, "f32", f"f32, or bf16: {BF16_FIDELITY}")
    preprocessing: Literal["none", "tf", "caffe", "torch"] | None = _setting(
        NETWORK, None, "none, tf, caffe or torch; the catalog's by default, none for an own model"
    )

    views: int = _setting(
        NETWORK, 1, "1, or 5: the mean over the whole photo and its corners; slower, often better"
    )

    decode: Literal["exact", "scaled"] = _setting(
        NETWORK,
        "exact",
        "exact, or scaled: large JPEGs at a reduced scale, about 3 times as fast on photos of 12 megapixels "
        "(cosine to exact: 0.999 at least); small photos are the same to the bit",
    )

    device: Literal["cpu", "cuda", "onnx"] = _setting(
        NETWORK,
        "cpu",
        "cpu (OpenVINO); cuda: NVIDIA GPUs by ONNX Runtime, not yet tried on one (docs/gpu.md); "
        "onnx: the same on the processor, to try the path",
    )
    batch_size: int | None = _setting(
        NETWORK, None, "photos a call with --device cuda (64 by default) or onnx (4)", ge=1
    )

    components: int | None = _setting(REDUCTION, None, "keep so many components", ge=1)
    variance: float | None = _setting(
        REDUCTION, None, "keep the fewest components with this share of variance (0.9 by default)", gt=0, le=1
    )
    standardize: bool = _setting(REDUCTION, False, "divide each feature by its standard deviation first")

    export: Words = _setting(EXPORT, (), "csv, json or both (csv,json), beside the Parquet")
    single_file: bool = _setting(
        EXPORT, False, "components, CSV and JSON as one file each; features/ stays a file a task"
    )
    overwrite: bool = _setting(RESULT, False, "replace an existing result, once the new one is whole")
    report: bool = _setting(RESULT, True, "write report.html")

    resume: bool = _setting(
        RESUME,
        False,
        "compute only new and changed photos, and what a run that did not end well had not done; features in OUT "
        "that were made with other settings are replaced only with --overwrite too",
    )
    prune: bool = _setting(RESUME, False, "with --resume: drop photos that the source has no more")

    keep_metadata: bool = _setting(
        PRIVACY,
        False,
        "pack photos as they are, with the place, time, camera and names in their files (docs/privacy.md)",
    )

    max_side: int | None = _setting(
        PACK, None, "write smaller copies: the most pixels that the longer side may have", ge=64
    )

    engine: Literal["local", "spark"] | None = _setting(
        ENGINE,
        None,
        "local: processes of this machine, no Java; spark: a Spark master. By default local, and spark where "
        "--master is given, where Spark runs already, and for sources that only Spark reads",
    )
    workers: int | None = _setting(
        ENGINE, None, "processes of the local engine; one for each core of this machine by default", ge=1
    )
    photo_timeout_s: float = _setting(
        ENGINE,
        300,
        "seconds for one photo: one whose decoding takes longer is rejected, or packed as it is",
        gt=0,
    )

    master: str | None = _setting(
        SPARK,
        None,
        f"the Spark to run on: local[*], local[N], spark://HOST:PORT, yarn, k8s://URL or sc://HOST:PORT; "
        f"{DEFAULT_MASTER} where --engine spark names none",
    )
    driver_memory: str = _setting(SPARK, "2g", "memory of the Spark driver")
    conf: Pairs = _setting(SPARK, (), "a Spark setting, key=value; as often as you like")
    verbose: bool = _setting(SPARK, False, "let Spark's log through")

    @field_validator("label")
    @classmethod
    def _check_label(cls, value: str) -> str:
        kind, _, rest = value.partition(":")
        if value in ("parent", "none") or (kind == "csv" and rest):
            return value
        if kind == "regex" and _groups(rest) == 1:
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
    def _check_prune(self) -> Settings:
        if self.prune and not self.resume:
            raise SettingsError("prune", self.prune, "resume beside it; without, a result is of its source alone")
        return self

    @model_validator(mode="after")
    def _check_one_criterion(self) -> Settings:
        if self.components is not None and self.variance is not None:
            raise SettingsError("components", self.components, "components or variance, not both")
        return self

    @property
    def variance_kept(self) -> float | None:
        """The share of variance to keep, or None where a number of components is asked for."""
        return None if self.components is not None else (self.variance or 0.9)

    @property
    def max_pixels(self) -> int:
        """The limit on a photo's pixels."""
        return int(self.max_megapixels * 1e6)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then verger.toml."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(**flags: Any) -> Settings:
    """Return the settings; a flag that is None counts as not given. Raises SettingsError."""
    given = {key: value for key, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise _settings_error(error) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError("file", TOML_FILE, f"TOML; {error}") from error


def origins(**flags: Any) -> dict[str, str]:
    """Return for every setting where its value comes from: flag, environment, verger.toml or default."""
    env = EnvSettingsSource(Settings)()
    toml = TomlConfigSettingsSource(Settings)()
    layers = {"flag": {k for k, v in flags.items() if v is not None}, "environment": env, TOML_FILE: toml}
    return {
        key: next((name for name, layer in layers.items() if key in layer), "default")
        for key in Settings.model_fields
    }


def _groups(pattern: str) -> int:
    try:
        return re.compile(pattern).groups
    except re.error:
        return -1


def _settings_error(error: ValidationError) -> SettingsError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return SettingsError("setting", key, sorted(Settings.model_fields))
    words = first["msg"].removeprefix("Value error, ")
    return SettingsError(key, first["input"], words[0].lower() + words[1:])
