"""Spark's connectors to object stores: which jars this Spark needs, fetched once, and how they are set up.

Spark brings Ivy along, which fetches them from Maven into verger's cache. Clusters that have connectors of their
own (EMR, Dataproc, Databricks, or jars beside Spark's) keep those.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

from verger.errors import SetupError
from verger.java import use_java
from verger.objects import s3_endpoint, s3_region
from verger.places import cache_dir, put_in_place

JARS = "VERGER_JARS"
IVY_SETTINGS = "spark.jars.ivySettings"

KINDS = {"s3a": "s3a", "s3": "s3a", "s3n": "s3a", "gs": "gs", "abfss": "abfss", "abfs": "abfss"}

# The SDK that each Hadoop was built with. Its bundle has 640 MB; these modules are what S3A uses of it.
_SDK_2 = {"3.4.0": "2.23.19", "3.4.1": "2.24.6", "3.4.2": "2.29.52"}
_SDK_2_MODULES = (
    *("s3", "s3-transfer-manager", "sts", "kms"),
    *("apache-client", "netty-nio-client", "dynamodb-enhanced"),
)
_SDK_1 = {"3.3.4": "1.12.262", "3.3.6": "1.12.367"}
_SDK_1_MODULES = ("s3", "dynamodb", "sts")
_GCS_CONNECTOR = "hadoop3-2.2.26"

_AZURE_KEY = "AZURE_STORAGE_ACCOUNT_KEY"

# What says that a cluster has connectors of its own.
_PLATFORM_VARIABLES = ("DATABRICKS_RUNTIME_VERSION", "DATAPROC_IMAGE_VERSION")
_PLATFORM_FOLDERS = ("/etc/google-dataproc", "/usr/share/aws/emr", "/emr/instance-controller")

_IVY = """<ivy-module version="2.0" xmlns:m="http://ant.apache.org/ivy/maven">
  <info organisation="verger" module="connectors"/>
  <dependencies>
  {%- for module in modules %}
    <dependency org="{{ module.org }}" name="{{ module.name }}" rev="{{ module.version }}"
      {%- if module.is_alone %} transitive="false"{% endif %} conf="default->runtime,compile,master">
      {%- if module.classifier %}
      <artifact name="{{ module.name }}" type="jar" ext="jar" m:classifier="{{ module.classifier }}"/>
      {%- endif %}
    </dependency>
  {%- endfor %}
  {%- for org, name in excluded %}
    <exclude org="{{ org }}" module="{{ name }}"/>
  {%- endfor %}
  </dependencies>
</ivy-module>
"""


@dataclass(frozen=True)
class Module:
    """A Maven module; `is_alone`: without what it depends on."""

    org: str
    name: str
    version: str
    is_alone: bool = False
    classifier: str = ""


@dataclass(frozen=True)
class Connector:
    """The modules that read and write one kind of store; `name` is its folder in the cache."""

    name: str
    modules: tuple[Module, ...]
    excluded: tuple[tuple[str, str], ...] = ()

    @property
    def folder(self) -> Path:
        """Where its jars are, or will be."""
        return Path(os.environ.get(JARS) or cache_dir() / "connectors") / self.name

    @property
    def jars(self) -> list[Path]:
        """The jars that are there."""
        return sorted(self.folder.glob("*.jar"))


def spark_settings(schemes: Iterable[str], conf: tuple[str, ...], say: Callable[[str], None]) -> dict[str, str]:
    """Return what Spark must be told to use these URIs' stores; fetches the jars the first time.

    Raises SetupError where they cannot be had.
    """
    kinds = sorted({KINDS[scheme] for scheme in schemes if scheme in KINDS})
    missing = [kind for kind in kinds if not is_provided(kind)]
    ivy_settings = dict(pair.partition("=")[::2] for pair in conf).get(IVY_SETTINGS)
    jars = [jar for kind in missing for jar in fetch(kind, say, ivy_settings)]
    settings = {"spark.jars": ",".join(map(str, jars))} if jars else {}
    settings |= _s3a_settings() if "s3a" in missing else {}
    return settings | (_abfss_settings() if "abfss" in missing else {})


def is_provided(kind: str) -> bool:
    """Tell whether this Spark has the connector without us."""
    names = {"s3a": "hadoop-aws-*.jar", "gs": "gcs-connector*.jar", "abfss": "hadoop-azure-*.jar"}
    is_platform = any(name in os.environ for name in _PLATFORM_VARIABLES) or any(
        Path(folder).is_dir() for folder in _PLATFORM_FOLDERS
    )
    return is_platform or any(_spark_jars().glob(names[kind]))


def connector(kind: str) -> Connector:
    """Return the connector of s3a, gs or abfss for this Spark; raises SetupError."""
    if kind == "gs":
        jar = Module("com.google.cloud.bigdataoss", "gcs-connector", _GCS_CONNECTOR, True, "shaded")
        return Connector(f"gcs-connector-{_GCS_CONNECTOR}", (jar,))
    hadoop = _version("hadoop-client-api-([0-9.]+).jar")
    if kind == "abfss":
        return Connector(f"hadoop-azure-{hadoop}", (Module("org.apache.hadoop", "hadoop-azure", hadoop),))
    scala, spark = _version("spark-core_([0-9.]+)-.*jar"), _version("spark-core_[0-9.]+-([0-9.]+).jar")
    # The committers' link to Spark, of the newest release that Maven has; with what it depends on it would be
    # every cloud's SDK at once.
    releases = f"[{spark.rpartition('.')[0]}.0,{spark}]"
    cloud = Module("org.apache.spark", f"spark-hadoop-cloud_{scala}", releases, is_alone=True)
    modules, excluded = _sdk(hadoop)
    aws = Module("org.apache.hadoop", "hadoop-aws", hadoop)
    return Connector(f"hadoop-aws-{hadoop}-spark-{spark}", (aws, cloud, *modules), (excluded,))


def _sdk(hadoop: str) -> tuple[list[Module], tuple[str, str]]:
    if hadoop in _SDK_2:
        org = "software.amazon.awssdk"
        return [Module(org, name, _SDK_2[hadoop]) for name in _SDK_2_MODULES], (org, "bundle")
    if hadoop in _SDK_1:
        org = "com.amazonaws"
        modules = [Module(org, f"aws-java-sdk-{name}", _SDK_1[hadoop]) for name in _SDK_1_MODULES]
        return modules, (org, "aws-java-sdk-bundle")
    known = ", ".join([*_SDK_1, *_SDK_2])
    raise SetupError(
        f"s3a:// with Hadoop {hadoop}: verger knows the SDK of Hadoop {known}; put the jars of hadoop-aws {hadoop} "
        f"beside Spark's own ({_spark_jars()})"
    )


def fetch(kind: str, say: Callable[[str], None], ivy_settings: str | None = None) -> list[Path]:
    """Return the connector's jars, fetched from Maven where they are not there; raises SetupError."""
    wanted = connector(kind)
    try:
        return obtain(wanted, say, ivy_settings)
    except SetupError as error:
        raise SetupError(_how_to_do_without(wanted, kind, error)) from None


def obtain(wanted: Connector, say: Callable[[str], None], ivy_settings: str | None = None) -> list[Path]:
    """Return these jars, fetched where they are not there; raises SetupError with Ivy's words."""
    if wanted.jars:
        return wanted.jars
    say(f"fetching {wanted.name} from Maven, once, into {wanted.folder}")
    wanted.folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wanted.folder.parent) as scratch:
        done = _retrieve(wanted, Path(scratch), ivy_settings)
        found = Path(scratch) / "jars"
        if done.returncode or not any(found.glob("*.jar")):
            said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()][-3:]
            raise SetupError("; ".join(said) or "no answer")
        put_in_place(found, wanted.folder)
    if not wanted.jars:
        raise SetupError(f"{wanted.folder} holds files but no jar: remove it, or copy the jars into it")
    return wanted.jars


def _retrieve(wanted: Connector, scratch: Path, ivy_settings: str | None) -> subprocess.CompletedProcess[str]:
    from jinja2 import Template  # not at every start: fetching is done once

    asked = scratch / "ivy.xml"
    asked.write_text(Template(_IVY).render(modules=wanted.modules, excluded=wanted.excluded))
    own_jars = [str(jar) for name in ("ivy-*.jar", "commons-cli-*.jar") for jar in _spark_jars().glob(name)]
    command = [use_java().home / "bin" / "java", "-cp", os.pathsep.join(own_jars), "org.apache.ivy.Main"]
    command += [
        "-ivy",
        asked,
        "-cache",
        scratch / "ivy",  # two that fetch at once spoil a common one
        "-types",
        "jar",
        "bundle",
        "-confs",
        "default",
        "-warn",
    ]
    command += ["-settings", ivy_settings] if ivy_settings else []
    command += ["-retrieve", f"{scratch}/jars/[artifact]-[revision](-[classifier]).[ext]"]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def _how_to_do_without(wanted: Connector, kind: str, said: SetupError) -> str:
    return (
        f"{kind}:// needs {wanted.name}, and Maven does not give it: {said}\n"
        f"where there is a network: verger connectors {kind} --to FOLDER; then copy FOLDER here and "
        f"set {JARS} to it (the jars are looked for in {wanted.folder})"
    )


def _s3a_settings() -> dict[str, str]:
    """Endpoint and region as Python has them; credentials stay where they are; the magic committer."""
    providers = (
        "org.apache.hadoop.fs.s3a.TemporaryAWSCredentialsProvider",
        "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
        *_session_providers(),
        "org.apache.hadoop.fs.s3a.auth.IAMInstanceCredentialsProvider",
    )
    endpoint = s3_endpoint()
    s3a = {
        "aws.credentials.provider": ",".join(providers),
        "endpoint.region": s3_region(),
        "committer.name": "magic",
        "committer.magic.enabled": "true",
    }
    if endpoint:
        s3a |= {
            "endpoint": endpoint,
            "path.style.access": "true",
            "connection.ssl.enabled": str(not endpoint.startswith("http://")).lower(),
        }
    # The executors' Python asks the same store as Spark does, with the executors' own credentials.
    told = {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": s3_region(), "AWS_PROFILE": os.environ.get("AWS_PROFILE")}
    return (
        {f"spark.hadoop.fs.s3a.{key}": value for key, value in s3a.items()}
        | {f"spark.executorEnv.{key}": value for key, value in told.items() if value}
        | {
            "spark.sql.sources.commitProtocolClass": "org.apache.spark.internal.io.cloud.PathOutputCommitProtocol",
            "spark.sql.parquet.output.committer.class": (
                "org.apache.spark.internal.io.cloud.BindingParquetOutputCommitter"
            ),
        }
    )


def _abfss_settings() -> dict[str, str]:
    """The account's key as Python has it: each JVM takes it from its own environment, it is in no setting."""
    if _AZURE_KEY not in os.environ:
        return {}
    return {"spark.hadoop.fs.azure.account.key": f"${{env.{_AZURE_KEY}}}"}


def _session_providers() -> tuple[str, ...]:
    """Return what reads the environment and the profile: the two SDKs call it differently."""
    if _version("hadoop-client-api-([0-9.]+).jar") in _SDK_1:
        environment, profile = "com.amazonaws.auth", "com.amazonaws.auth.profile"
    else:
        environment = profile = "software.amazon.awssdk.auth.credentials"
    return f"{environment}.EnvironmentVariableCredentialsProvider", f"{profile}.ProfileCredentialsProvider"


def _spark_jars() -> Path:
    home = os.environ.get("SPARK_HOME")
    return Path(home) / "jars" if home else Path(str(distribution("pyspark").locate_file("pyspark/jars")))


@cache
def _version(pattern: str) -> str:
    for jar in _spark_jars().glob("*.jar"):
        if match := re.fullmatch(pattern, jar.name):
            return match.group(1)
    raise SetupError(f"no jar in {_spark_jars()} matches {pattern}: this is no Spark that verger knows")
