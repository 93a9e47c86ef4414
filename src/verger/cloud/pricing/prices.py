"""The table of prices: the prices, their date, and the source and reliability of each price.

`prices.toml` beside this file is the default table; `--prices FILE` names another one, in the same form (TOML or
JSON).
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from verger.cloud.regions import check_region
from verger.errors import CloudError, SettingsError

T = TypeVar("T")

BUNDLED = Path(__file__).with_name("prices.toml")
STALE_DAYS = 180

# Prices except those of machines, with the unit of each price.
RATES = {
    "serverless-vcpu-x86_64": "vCPU and hour",
    "serverless-gb-x86_64": "GB and hour",
    "serverless-vcpu-aarch64": "vCPU and hour",
    "serverless-gb-aarch64": "GB and hour",
    "serverless-disk-gb": "GB and hour",
    "dataproc-vcpu": "vCPU and hour",
    "batch-dcu": "DCU and hour",
    "batch-shuffle-gb-month": "GB and month",
    "dbu": "DBU",
    "disk-gb-month": "GB and month",
    "endpoint-hour": "endpoint and hour",
    "endpoint-gb": "GB",
    "store-gb-month": "GB and month",
    "store-rare-gb-month": "GB and month",
    "store-archive-gb-month": "GB and month",
    "put-1000": "1,000 requests",
    "get-1000": "1,000 requests",
    "key-month": "key and month",
    "key-10000": "10,000 requests",
    "alarm-month": "alarm and month",
    "out-gb": "GB",
}


@dataclass(frozen=True)
class Range:
    """An uncertain quantity: lowest, most likely and highest value."""

    low: float
    typical: float
    high: float


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PriceSource(_Form):
    """The web page that shows a price, and how reliable the price is (see prices.toml)."""

    page: str
    sure: Literal["verified", "derived", "recalled"]
    note: str = ""


class Price(_Form):
    """US dollars per unit, and the name of the source."""

    usd: float = Field(ge=0)
    source: str


class Machine(_Form):
    """A type of machine. vcpus: number of cores that Spark uses; dbu: Databricks units per hour."""

    vcpus: int = Field(gt=0)
    gib: float = Field(gt=0)
    arch: Literal["x86_64", "aarch64"]
    dbu: float | None = None


def _check_rates(rates: dict[str, Price]) -> dict[str, Price]:
    if unknown := set(rates) - set(RATES):
        raise SettingsError("rate", min(unknown), RATES)
    return rates


class Region(_Form):
    """A region's prices: machines per hour (on demand), EMR's fee per hour for each machine, and other rates."""

    machine: dict[str, Price] = {}
    emr: dict[str, Price] = {}
    rate: Annotated[dict[str, Price], AfterValidator(_check_rates)] = {}


class Prices(_Form):
    """The table of prices. If a price is missing, a look-up raises a CloudError that lists names with prices."""

    read: date
    eur_per_usd: float = Field(gt=0)
    eur_read: date
    sources: dict[str, PriceSource]
    machines: dict[str, Machine]
    spot: dict[str, Range]
    regions: dict[str, dict[str, Region]]

    @model_validator(mode="after")
    def _check_sources(self) -> Prices:
        for _, _, price in self.all_prices():
            if price.source not in self.sources:
                raise SettingsError("source", price.source, sorted(self.sources))
        return self

    def all_prices(self) -> Iterable[tuple[str, str, Price]]:
        """Yield (provider and region, name of the item, price)."""
        for provider, regions in self.regions.items():
            for name, region in regions.items():
                where = f"{provider} {name}"
                yield from ((where, machine, price) for machine, price in region.machine.items())
                yield from ((where, f"emr {machine}", price) for machine, price in region.emr.items())
                yield from ((where, rate, price) for rate, price in region.rate.items())

    def machine(self, name: str) -> Machine:
        """Return the properties of a machine."""
        return _look_up(self.machines, name, "machine")

    def region(self, provider: str, name: str) -> Region:
        """Return the prices of a provider in a region of the EU."""
        check_region(provider, name)
        return _look_up(self.regions.get(provider, {}), name, f"region of {provider}")

    def below(self, provider: str, name: str) -> tuple[str, Region]:
        """Return the cloud that owns a provider's machines, and that cloud's prices in a region.

        For Databricks this is AWS or Google Cloud; for the others it is the provider itself.
        """
        if provider != "databricks":
            return provider, self.region(provider, name)
        check_region(provider, name)
        clouds = {region: cloud for cloud in ("aws", "gcp") for region in self.regions.get(cloud, {})}
        cloud = _look_up(clouds, name, "region of databricks")
        return cloud, self.regions[cloud][name]

    def spot_of(self, cloud: str) -> Range:
        """Return the price of a cloud's spot machines as a fraction of the price on demand."""
        return _look_up(self.spot, cloud, "spot machines of")

    def age_days(self, today: date) -> int:
        """Return the age of the oldest price in days."""
        return (today - self.read).days


def price_of(prices: dict[str, Price], name: str, what: str) -> float:
    """Return a price in US dollars; raises CloudError if there is none."""
    return _look_up(prices, name, what).usd


def _look_up(table: dict[str, T], name: str, what: str) -> T:
    if name not in table:
        available = ", ".join(sorted(table)) or "none"
        hint = "Add more with `verger cost --prices FILE`"
        raise CloudError(f"no price for {what} {name}; there are prices for: {available}. {hint}")
    return table[name]


def load_prices(file: Path | None = None) -> Prices:
    """Return the table in a TOML or JSON file, by default the bundled one. Raises SettingsError."""
    path = file or BUNDLED
    try:
        text = path.read_text()
        return Prices.model_validate(json.loads(text) if path.suffix == ".json" else tomllib.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path.name}: {key}", first["input"], first["msg"]) from error
    except (ValueError, OSError) as error:  # the errors of json and tomllib are ValueErrors
        raise SettingsError("prices", str(path), f"a table of prices in TOML or JSON; {error}") from error
