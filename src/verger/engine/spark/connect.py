"""Sessions on a Spark Connect server: they need no JVM on this machine, and can change only some settings."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from verger.engine.spark.spark_options import SessionOptions, sql_settings
from verger.errors import SetupError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_DEFAULT_PORT = 15002
_ANSWER_S = 5.0


def connect(options: SessionOptions) -> SparkSession:
    """Return a session on the server at the URL `options.master`; raises SetupError."""
    _check_answer(options.master)
    from pyspark.errors import PySparkImportError
    from pyspark.sql import SparkSession

    try:
        # Not `getOrCreate`, which would change the settings of a session that already exists in this process.
        spark: SparkSession = SparkSession.builder.remote(options.master).create()
    except PySparkImportError as error:
        raise SetupError("Spark Connect needs more packages: pip install 'verger[connect]'") from error
    for key, value in sql_settings(options).items():
        if spark.conf.isModifiable(key):
            spark.conf.set(key, value)
    return spark


def _check_answer(url: str) -> None:
    """Raise SetupError if no server answers. Without this check, pyspark's client would try for ten minutes."""
    server = urlsplit(url)
    try:
        socket.create_connection((server.hostname or "", server.port or _DEFAULT_PORT), _ANSWER_S).close()
    except OSError as error:
        raise SetupError(f"no Spark Connect server answers at {url}: {error}") from error
