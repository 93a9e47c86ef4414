"""The clouds, their engines, and the machines that a deployment's package must run on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from verger.cloud.deploy.package import Target
from verger.cloud.deploy.provider import DeploymentSpec
from verger.errors import CloudError, SettingsError

# Amazon: a g after the generation, and the old a1; Google: Axion's and Ampere's.
_ARM = re.compile(r"[a-z]+\d+g[a-z0-9-]*\.|a1\.|(c4a|n4a|t2a)-")


@dataclass(frozen=True)
class ProviderInfo:
    """A provider, its engines (the first is the default), and machines for a demonstration that costs cents."""

    engines: tuple[str, ...]
    shape: str


PROVIDERS: dict[str, ProviderInfo] = {
    "aws": ProviderInfo(("emr", "serverless"), "2xm5.xlarge"),
    "gcp": ProviderInfo(("dataproc", "batch"), "2xn2-standard-4"),
    "databricks": ProviderInfo(("job",), "2xm5.xlarge"),
}

# Python and Spark of the machines, where they are not those of EMR 7 and of Dataproc's images.
_NODES = {"batch": ("3.12", "4.0"), "job": ("3.12", "4.0")}

# The C library of their Linux, where it is newer than that of EMR: Debian 12, of Google's images.
_GLIBC = {"gcp": "2.36"}


def installs_package(spec: DeploymentSpec) -> bool:
    """Tell whether its machines install verger's package: those of EMR Serverless have it in their image."""
    return spec.engine != "serverless"


def target_of(spec: DeploymentSpec) -> Target:
    """Return the machines that a deployment's package is for."""
    arch = arch_of(spec.shape.machine)
    python, spark = _NODES.get(spec.engine, ("3.11", "3.5"))
    return Target(python, arch, spark, _GLIBC.get(spec.provider, Target.glibc))


def provider_info(provider: str) -> ProviderInfo:
    """Return a cloud; raises SettingsError for an unknown one."""
    if provider not in PROVIDERS:
        raise SettingsError("provider", provider, PROVIDERS)
    return PROVIDERS[provider]


def arch_of(machine: str) -> str:
    """Return a machine's processor as wheels name it; ARM's are known by their names: m7g.xlarge, c4a-..."""
    return "aarch64" if _ARM.match(machine) else "x86_64"


def check_processor(provider: str, machine: str) -> str:
    """Return the machine; raises CloudError for Graviton under EMR, for which verger has no package."""
    if provider == "aws" and arch_of(machine) == "aarch64":
        raise CloudError(
            f"{machine} is a Graviton machine: OpenVINO's wheels for ARM ask for a newer C library (2.35) than "
            "EMR's Linux has (2.34); choose one with an x86 processor: m5.xlarge, m5.2xlarge"
        )
    return machine


def check_engine(provider: str, engine: str | None) -> str:
    """Return the engine, the provider's first where none is named; raises SettingsError for one it has not."""
    engines = provider_info(provider).engines
    if engine is not None and engine not in engines:
        raise SettingsError("engine", engine, engines)
    return engine or engines[0]
