"""The base class of settings, and how their values are read from flags, variables and verger.toml."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, ClassVar, TypeVar

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from verger.errors import SettingsError

TOML_FILE = "verger.toml"
ENV_PREFIX = "VERGER_"
# Tables of verger.toml, each with the settings of a class. All other keys are settings of a run.
TABLES = ("serve",)


class TableSettings(BaseSettings):
    """Settings from flags, variables VERGER_* and verger.toml.

    TABLE: the table of verger.toml with their keys; None: the keys at the top of the file.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, toml_file=TOML_FILE, frozen=True, extra="forbid", env_ignore_empty=True
    )
    TABLE: ClassVar[str | None] = None

    @classmethod
    def sources_of_secrets(cls) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return more sources of values; they take precedence over verger.toml."""
        return ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources of values in order of precedence: flags, variables, secrets, verger.toml."""
        return init_settings, env_settings, *cls.sources_of_secrets(), TomlTable(settings_cls, cls.TABLE)


AnySettings = TypeVar("AnySettings", bound=TableSettings)


class TomlTable(TomlConfigSettingsSource):
    """The keys of verger.toml that belong to one class of settings.

    table: name of the table with its keys; None: the keys at the top of the file, without the tables in TABLES.
    """

    def __init__(self, settings_cls: type[BaseSettings], table: str | None = None) -> None:
        super().__init__(settings_cls)
        values = self.toml_data if table is None else self.toml_data.get(table, {})
        if not isinstance(values, dict):
            raise SettingsError(str(table), values, f"a table, [{table}]")
        self.init_kwargs = {key: value for key, value in values.items() if table or key not in TABLES}


def load_settings_of(settings_class: type[AnySettings], **flags: Any) -> AnySettings:
    """Return the settings of a class; a flag that is None has no value. Raises SettingsError."""
    given = {key: value for key, value in flags.items() if value is not None}
    try:
        if os.path.isdir(TOML_FILE):
            raise IsADirectoryError("it is a folder")
        return settings_class(**given)
    except ValidationError as error:
        raise _settings_error(error, given, settings_class) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError("file", TOML_FILE, f"TOML that can be read; {error}") from error


def _settings_error(
    error: ValidationError, given: Mapping[str, Any], settings_class: type[BaseSettings]
) -> SettingsError:
    """Return the first error; a value that is no flag is followed by the variable or file that sets it."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    variable = ENV_PREFIX + key.upper()
    origin = "" if key in given else f" (set by {variable if variable in os.environ else TOML_FILE})"
    if first["type"] == "extra_forbidden":
        names = settings_class.model_fields
        advice = "".join(f" (did you mean {name}?)" for name in get_close_matches(key, names, n=1))
        return SettingsError("setting", key, f"one of {', '.join(sorted(names))}{advice}{origin}")
    message = first["msg"].removeprefix("Value error, ")
    return SettingsError(key, first["input"], message[0].lower() + message[1:] + origin)
