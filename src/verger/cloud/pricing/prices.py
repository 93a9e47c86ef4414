"""What the clouds ask: a table with its date, and for every price where it is from and how sure that is.

`prices.toml` beside this file is the table that ships; another of the same form, TOML or JSON, takes its place.
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

# What is asked for beside machines, and the unit of each.
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
    """What nobody knows exactly: at least, most likely, at most."""

    low: float
    typical: float
    high: float


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PriceSource(_Form):
    """The page a price is from, and how sure it is (see prices.toml)."""

    page: str
    sure: Literal["verified", "derived", "recalled"]
    note: str = ""


class Price(_Form):
    """US dollars a unit, and the name of the source."""

    usd: float = Field(ge=0)
    source: str


class Machine(_Form):
    """vcpus: what Spark sees as cores; dbu: Databricks units an hour."""

    vcpus: int = Field(gt=0)
    gib: float = Field(gt=0)
    arch: Literal["x86_64", "aarch64"]
    dbu: float | None = None


def _check_rates(rates: dict[str, Price]) -> dict[str, Price]:
    if unknown := set(rates) - set(RATES):
        raise SettingsError("rate", min(unknown), RATES)
    return rates


class Region(_Form):
    """A region's prices: machines an hour on demand, what EMR takes beside each, and rates."""

    machine: dict[str, Price] = {}
    emr: dict[str, Price] = {}
    rate: Annotated[dict[str, Price], AfterValidator(_check_rates)] = {}


class Prices(_Form):
    """The table. Its look-ups raise CloudError where there is no price, and name what has one."""

    read: date
    eur_per_usd: float = Field(gt=0)
    eur_read: date
    sources: dict[str, PriceSource]
    machines: dict[str, Machine]
    spot: dict[str, Range]
    regions: dict[str, dict[str, Region]]

    @model_validator(mode="after")
    def _check_sources(self) -> Prices:
        for _, _, price in self.every():
            if price.source not in self.sources:
                raise SettingsError("source", price.source, sorted(self.sources))
        return self

    def every(self) -> Iterable[tuple[str, str, Price]]:
        """Yield (provider and region, what is paid for, price)."""
        for provider, regions in self.regions.items():
            for name, region in regions.items():
                place = f"{provider} {name}"
                yield from ((place, machine, price) for machine, price in region.machine.items())
                yield from ((place, f"emr {machine}", price) for machine, price in region.emr.items())
                yield from ((place, rate, price) for rate, price in region.rate.items())

    def machine(self, name: str) -> Machine:
        """Return what a machine is."""
        return _found(self.machines, name, "machine")

    def region(self, provider: str, name: str) -> Region:
        """Return the prices of a provider in a region, which must be in the EU."""
        check_region(provider, name)
        return _found(self.regions.get(provider, {}), name, f"region of {provider}")

    def below(self, provider: str, name: str) -> tuple[str, Region]:
        """Return the cloud that the machines are of, and its prices: Databricks works on another's."""
        if provider != "databricks":
            return provider, self.region(provider, name)
        check_region(provider, name)
        known = {region: cloud for cloud in ("aws", "gcp") for region in self.regions.get(cloud, {})}
        cloud = _found(known, name, "region of databricks")
        return cloud, self.regions[cloud][name]

    def spot_of(self, cloud: str) -> Range:
        """Return what a spot machine of a cloud costs of its price on demand."""
        return _found(self.spot, cloud, "spot machines of")

    def age_days(self, today: date) -> int:
        """Return how long ago the oldest of its prices was read."""
        return (today - self.read).days


def price_of(prices: dict[str, Price], name: str, what: str) -> float:
    """Return a price in US dollars, or raise CloudError."""
    return _found(prices, name, what).usd


def _found(table: dict[str, T], name: str, what: str) -> T:
    if name not in table:
        known = ", ".join(sorted(table)) or "none"
        others = "Others: `verger cost --prices FILE`"
        raise CloudError(f"no price for {what} {name}; there are prices for: {known}. {others}")
    return table[name]


def load_prices(file: Path | None = None) -> Prices:
    """Return the table of a TOML or JSON file, the bundled one by default. Raises SettingsError."""
    path = file or BUNDLED
    try:
        text = path.read_text()
        return Prices.model_validate(json.loads(text) if path.suffix == ".json" else tomllib.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path.name}: {key}", first["input"], first["msg"]) from error
    except (ValueError, OSError) as error:  # json's and tomllib's are ValueErrors
        raise SettingsError("prices", str(path), f"a table of prices in TOML or JSON; {error}") from error
