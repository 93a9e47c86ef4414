"""The regions of each cloud that are in the European Union. Photos are stored and processed only in these regions.

The lists are explicit because prefixes are misleading: eu-west-2 and europe-west2 are in London, eu-central-2 and
europe-west6 in Zurich. Terraform's variables and the policies in infra/ have the same lists; a test compares them.
"""

from __future__ import annotations

from verger.errors import CloudError, SettingsError

# Checked against the providers' lists of regions on 2026-11-22.
EU_REGIONS: dict[str, dict[str, str]] = {
    "aws": {
        "eu-central-1": "Frankfurt",
        "eu-north-1": "Stockholm",
        "eu-south-1": "Milan",
        "eu-south-2": "Zaragoza, Spain",
        "eu-west-1": "Dublin",
        "eu-west-3": "Paris",
    },
    "gcp": {
        "europe-central2": "Warsaw",
        "europe-north1": "Hamina",
        "europe-north2": "Stockholm",
        "europe-southwest1": "Madrid",
        "europe-west1": "St. Ghislain",
        "europe-west10": "Berlin",
        "europe-west12": "Turin",
        "europe-west3": "Frankfurt",
        "europe-west4": "Eemshaven",
        "europe-west8": "Milan",
        "europe-west9": "Paris",
    },
}
# A Databricks workspace is in a region of the cloud on which it runs.
EU_REGIONS["databricks"] = (
    EU_REGIONS["aws"]
    | EU_REGIONS["gcp"]
    | {
        "francecentral": "Paris",
        "germanywestcentral": "Frankfurt",
        "italynorth": "Milan",
        "northeurope": "Dublin",
        "polandcentral": "Warsaw",
        "spaincentral": "Madrid",
        "swedencentral": "Gävle",
        "westeurope": "Amsterdam",
    }
)

# Regions in Europe outside the EU, with their cities, for the error message.
_EUROPE_OUTSIDE_EU = {
    "eu-west-2": "London",
    "eu-central-2": "Zurich",
    "europe-west2": "London",
    "europe-west6": "Zurich",
    "uksouth": "London",
    "ukwest": "Cardiff",
    "switzerlandnorth": "Zurich",
    "switzerlandwest": "Geneva",
    "norwayeast": "Oslo",
}

DEFAULT_REGIONS = {"aws": "eu-west-3", "gcp": "europe-west9", "databricks": "eu-west-3"}


def check_region(provider: str, region: str) -> str:
    """Return the region; raises CloudError if it is not in the EU, SettingsError for an unknown provider."""
    if provider not in EU_REGIONS:
        raise SettingsError("provider", provider, EU_REGIONS)
    allowed = EU_REGIONS[provider]
    if region in allowed:
        return region
    suffix = f" ({_EUROPE_OUTSIDE_EU[region]})" if region in _EUROPE_OUTSIDE_EU else ""
    listed = ", ".join(f"{name} ({city})" for name, city in allowed.items())
    raise CloudError(f"region {region}{suffix} is not in the European Union; allowed on {provider}: {listed}")
