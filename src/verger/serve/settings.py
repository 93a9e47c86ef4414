"""The settings of the service."""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import PydanticBaseSettingsSource, SecretsSettingsSource

from verger.errors import SettingsError
from verger.settings import Words, setting
from verger.settings.toml_table import ENV_PREFIX, TableSettings, load_settings_of

SERVER, RECOGNITION, STORAGE, LIMITS = "Server", "Recognition", "Storage", "Limits"
GROUPS = (SERVER, RECOGNITION, STORAGE, LIMITS)

DEFAULT_PORT = 8000
DEFAULT_FOLDER = "verger-data"
DEFAULT_DATABASE = f"sqlite:///{DEFAULT_FOLDER}/verger.db"
SECRETS_VARIABLE, SECRETS_FOLDER = "VERGER_SECRETS", "/run/secrets"  # the folder as in Docker and Kubernetes
N_PHOTOS = 5  # of one fruit, in one request


def _port(value: object) -> object:
    """Ignore the variable VERGER_PORT=tcp://HOST:PORT, which Kubernetes sets if a service is called verger."""
    return DEFAULT_PORT if isinstance(value, str) and value.startswith("tcp://") else value


Port = Annotated[int, BeforeValidator(_port), Field(ge=0, le=65_535)]


class ServeSettings(TableSettings):
    """The settings of `verger serve`: flags, variables VERGER_*, and keys of the table [serve] of verger.toml.

    A file VERGER_DATABASE_URL in /run/secrets, or in the folder $VERGER_SECRETS, has the effect of the variable.
    """

    TABLE = "serve"

    host: str = setting(SERVER, "127.0.0.1", "address to listen on; 0.0.0.0: all addresses of this machine")
    port: Port = setting(SERVER, DEFAULT_PORT, "port to listen on; 0: any free port")
    processes: int = setting(
        SERVER, 1, "server processes. One process uses all cores; more of them need more memory", ge=1
    )
    certificate: str | None = setting(SERVER, None, "PEM file with the certificate chain, for HTTPS")
    certificate_key: str | None = setting(SERVER, None, "PEM file with the certificate's private key")
    proxies: Words = setting(
        SERVER, (), "addresses of proxies in front of the service, whose X-Forwarded-For is trusted"
    )
    cors_origins: Words = setting(SERVER, (), "origins of other sites whose pages may call the service")

    classifier: str | None = setting(
        RECOGNITION,
        None,
        "a result of `verger train`, or EfficientNetLite2 (default) or fruitnet, which are bundled",
    )
    inference_threads: int | None = setting(
        RECOGNITION, None, "compiled networks, each with a thread; by default one for each core", ge=1
    )
    decoders: int | None = setting(
        RECOGNITION, None, "child processes that decode photos; by default one for each core", ge=1
    )

    database_url: str = setting(STORAGE, DEFAULT_DATABASE, "sqlite:///FILE or postgresql://USER@HOST/NAME")
    photos: str = setting(
        STORAGE, f"{DEFAULT_FOLDER}/photos", "folder or bucket for photos that people allow to keep"
    )
    retention_days: int = setting(
        STORAGE, 365, "days after which `verger serve purge` deletes an observation", ge=1
    )

    deadline_s: float = setting(
        LIMITS, 5, "seconds in which a request must be answered; it is refused if it would wait longer", gt=0
    )
    max_photo_mb: float = setting(LIMITS, 20, "largest file of a photo, in megabytes", gt=0)
    max_photo_megapixels: float = setting(LIMITS, 50, "largest number of pixels of a photo, in millions", gt=0)
    decoder_memory_mb: int = setting(LIMITS, 1_500, "memory limit of a process that decodes photos", ge=300)
    rate: str = setting(LIMITS, "60/minute", "requests with photos from one address")
    key_rate: str = setting(LIMITS, "600/minute", "requests with photos with one API key")

    @field_validator("rate", "key_rate")
    @classmethod
    def _check_rate(cls, value: str) -> str:
        from limits import parse

        try:
            parse(value)
        except ValueError:
            raise ValueError("a number of requests in a time, such as 60/minute") from None
        return value

    @model_validator(mode="after")
    def _check_certificate(self) -> ServeSettings:
        if (self.certificate is None) != (self.certificate_key is None):
            missing = "certificate" if self.certificate is None else "certificate_key"
            raise SettingsError(missing, None, "a PEM file: HTTPS needs a certificate and its key")
        return self

    @property
    def n_inference_threads(self) -> int:
        """The number of compiled networks in each process."""
        return self.inference_threads or max(1, _n_cores() // self.processes)

    @property
    def n_decoders(self) -> int:
        """The number of child processes of each server process."""
        return self.decoders or max(1, _n_cores() // self.processes)

    @property
    def max_photo_bytes(self) -> int:
        """The size of the largest photo that is accepted, in bytes."""
        return int(self.max_photo_mb * 1e6)

    @property
    def max_pixels(self) -> int:
        """The largest number of pixels of a photo that is decoded."""
        return int(self.max_photo_megapixels * 1e6)

    @classmethod
    def sources_of_secrets(cls) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the folder of secrets, if there is one."""
        folder = os.environ.get(SECRETS_VARIABLE, SECRETS_FOLDER)
        return (SecretsSettingsSource(cls, folder, env_prefix=ENV_PREFIX),) if os.path.isdir(folder) else ()


def load_serve_settings(**flags: Any) -> ServeSettings:
    """Return the settings from flags, environment and verger.toml; None is no value. Raises SettingsError."""
    return load_settings_of(ServeSettings, **flags)


def _n_cores() -> int:
    return len(os.sched_getaffinity(0))
