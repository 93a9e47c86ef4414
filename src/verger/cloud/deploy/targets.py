"""The providers and their engines, and the kind of machines on which a deployment's package must run."""

from __future__ import annotations

import re
from dataclasses import dataclass

from verger.cloud.deploy.package import Target
from verger.cloud.deploy.provider import DeploymentSpec
from verger.errors import CloudError, SettingsError

# Names of ARM machines. On AWS: a g after the generation's number, and a1. On Google Cloud: Axion and Ampere.
_ARM = re.compile(r"[a-z]+\d+g[a-z0-9-]*\.|a1\.|(c4a|n4a|t2a)-")


@dataclass(frozen=True)
class ProviderInfo:
    """A provider's engines (the first is the default), and its default shape: small machines that cost little."""

    engines: tuple[str, ...]
    shape: str


PROVIDERS: dict[str, ProviderInfo] = {
    "aws": ProviderInfo(("emr", "serverless"), "2xm5.xlarge"),
    "gcp": ProviderInfo(("dataproc", "batch"), "2xn2-standard-4"),
    "databricks": ProviderInfo(("job",), "2xm5.xlarge"),
}

# Python and Spark of the machines of some engines. All other engines have Python 3.11 and Spark 3.5.
_PYTHON_SPARK = {"batch": ("3.12", "4.0"), "job": ("3.12", "4.0")}

# C library of a provider's machines if it is newer than EMR's; Google's images have Debian 12.
_GLIBC = {"gcp": "2.36"}


def installs_package(spec: DeploymentSpec) -> bool:
    """Return whether the machines install verger's package; machines of EMR Serverless use a container image."""
    return spec.engine != "serverless"


def target_of(spec: DeploymentSpec) -> Target:
    """Return the target of a deployment's package."""
    arch = arch_of(spec.shape.machine)
    python, spark = _PYTHON_SPARK.get(spec.engine, ("3.11", "3.5"))
    return Target(python, arch, spark, _GLIBC.get(spec.provider, Target.glibc))


def provider_info(provider: str) -> ProviderInfo:
    """Return a provider's engines and default shape; raises SettingsError for an unknown provider."""
    if provider not in PROVIDERS:
        raise SettingsError("provider", provider, PROVIDERS)
    return PROVIDERS[provider]


def arch_of(machine: str) -> str:
    """Return the processor type as wheels name it, derived from the machine's name: aarch64 for m7g.xlarge."""
    return "aarch64" if _ARM.match(machine) else "x86_64"


def check_processor(provider: str, machine: str) -> str:
    """Return the machine; raises CloudError for AWS's Graviton machines, for which verger has no package."""
    if provider == "aws" and arch_of(machine) == "aarch64":
        raise CloudError(
            f"{machine} is a Graviton machine, but OpenVINO's wheels for ARM need a newer C library (2.35) than "
            "EMR's Linux has (2.34): choose a machine with an x86 processor, such as m5.xlarge or m5.2xlarge"
        )
    return machine


def check_engine(provider: str, engine: str | None) -> str:
    """Return the engine, or the provider's first one for None; raises SettingsError for an unknown engine."""
    engines = provider_info(provider).engines
    if engine is not None and engine not in engines:
        raise SettingsError("engine", engine, engines)
    return engine or engines[0]
