"""Registry of cloud providers. Each provider needs its own extra, so it is imported only when it is first used."""

from __future__ import annotations

from verger.cloud.deploy.provider import Provider
from verger.cloud.deploy.targets import PROVIDERS
from verger.errors import SettingsError


def load_provider(name: str) -> Provider:
    """Return the provider of this name; raises SettingsError for an unknown one."""
    if name == "aws":
        from verger.cloud.aws import Aws

        return Aws()
    if name == "gcp":
        from verger.cloud.gcp import Gcp

        return Gcp()
    if name == "databricks":
        from verger.cloud.databricks import Databricks

        return Databricks()
    raise SettingsError("provider", name, PROVIDERS)
