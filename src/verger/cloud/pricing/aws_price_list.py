"""Import prices from AWS's price list: the files of one region from the bulk API, one file per service.

The meaning of the attributes is known only from public code that reads such files; no current file was checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from verger.cloud.pricing.prices import Price, Prices, PriceSource, Region
from verger.cloud.regions import check_region
from verger.errors import CloudError, SettingsError

# For each service: usage type without region prefix -> (name of verger's rate, number of AWS's units in its unit).
_USAGE: dict[str, dict[str, tuple[str, int]]] = {
    "AmazonEC2": {"EBS:VolumeUsage.gp3": ("disk-gb-month", 1)},
    "ElasticMapReduce": {
        "EMR-SERVERLESS-vCPUHours": ("serverless-vcpu-x86_64", 1),
        "EMR-SERVERLESS-MemoryGBHours": ("serverless-gb-x86_64", 1),
        "EMR-SERVERLESS-ARM-vCPUHours": ("serverless-vcpu-aarch64", 1),
        "EMR-SERVERLESS-ARM-MemoryGBHours": ("serverless-gb-aarch64", 1),
        "EMR-SERVERLESS-StorageGBHours": ("serverless-disk-gb", 1),
    },
    "AmazonS3": {
        "TimedStorage-ByteHrs": ("store-gb-month", 1),
        "TimedStorage-SIA-ByteHrs": ("store-rare-gb-month", 1),
        "TimedStorage-GIR-ByteHrs": ("store-archive-gb-month", 1),
        "Requests-Tier1": ("put-1000", 1_000),
        "Requests-Tier2": ("get-1000", 1_000),
    },
    "awskms": {"KMS-Keys": ("key-month", 1), "KMS-Requests": ("key-10000", 10_000)},
    "AmazonVPC": {"VpcEndpoint-Hours": ("endpoint-hour", 1), "VpcEndpoint-Bytes": ("endpoint-gb", 1)},
    "AmazonCloudWatch": {"CW:AlarmMonitorUsage": ("alarm-month", 1)},
}

_LINUX = {"operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used"}
_EMR = {"softwareType": "EMR"}


def update_prices(prices: Prices, region: str, files: Sequence[Path], today: date) -> Prices:
    """Return the table with the prices of the files for a region.

    If the files replace all prices of the table, its date becomes `today`; otherwise the date stays the same.
    Raises CloudError if a file has no price for the region.
    """
    check_region("aws", region)
    new: dict[str, dict[str, Price]] = {"machine": {}, "emr": {}, "rate": {}}
    sources: dict[str, PriceSource] = {}
    for path in files:
        offer = _read(path)
        name = f"aws-price-list-{offer['offerCode']}-{region}"
        published = str(offer["publicationDate"])[:10]
        offered = list(_prices(offer, region, prices))
        if not offered:
            raise CloudError(
                f"{path}: {offer['offerCode']} has no price that verger uses for {region}; services used: "
                f"{', '.join(_USAGE)}"
            )
        for group, what, usd in offered:
            new[group][what] = Price(usd=usd, source=name)
        sources[name] = PriceSource(page=f"AWS's price list, {offer['offerCode']}, of {published}", sure="verified")
    regions = {provider: dict(table) for provider, table in prices.regions.items()}
    before = regions.setdefault("aws", {}).get(region, Region())
    regions["aws"][region] = Region(**{group: getattr(before, group) | new[group] for group in new})
    table = prices.model_copy(update={"sources": prices.sources | sources, "regions": regions})
    is_all_new = all(price.source in sources for _, _, price in table.all_prices())
    return table.model_copy(update={"read": today}) if is_all_new else table


def _read(path: Path) -> dict[str, Any]:
    try:
        offer = json.loads(path.read_text())
        return {key: offer[key] for key in ("offerCode", "publicationDate", "products", "terms")}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SettingsError("offer", str(path), f"a file of AWS's price list; {error!r}") from error


def _prices(offer: dict[str, Any], region: str, prices: Prices) -> Iterator[tuple[str, str, float]]:
    """Yield (group, name, US dollars).

    The group is "machine" or "emr" for a machine of the table, and "rate" for one of `prices.RATES`.
    """
    for sku, product in offer["products"].items():
        attributes = product["attributes"]
        if attributes.get("regionCode") != region:
            continue
        item = _identify(offer["offerCode"], product, region, prices)
        usd = _on_demand_usd(offer["terms"].get("OnDemand", {}).get(sku, {}))
        if item is not None and usd is not None:
            group, what, units = item
            yield group, what, usd * units


def _identify(code: str, product: dict[str, Any], region: str, prices: Prices) -> tuple[str, str, int] | None:
    """Return a product's group, name, and number of AWS's units in verger's unit; None for an unused product."""
    attributes = product["attributes"]
    machine = attributes.get("instanceType")
    if machine in prices.machines:
        if code == "AmazonEC2" and attributes.items() >= _LINUX.items():
            return "machine", machine, 1
        if code == "ElasticMapReduce" and attributes.items() >= _EMR.items():
            return "emr", machine, 1
    # EUW3-TimedStorage-ByteHrs, eu-west-3-KMS-Keys; but EUW3-Tables-TimedStorage-ByteHrs is another product.
    usage = re.sub(rf"^(EU[A-Z]?\d*|{region})-", "", str(attributes.get("usagetype", "")))
    rate = _USAGE.get(code, {}).get(usage)
    return ("rate", *rate) if rate else None


def _on_demand_usd(offers: dict[str, Any]) -> float | None:
    """Return the price of the first unit that is not free; later units may be cheaper."""
    dimensions = [part for offer in offers.values() for part in offer["priceDimensions"].values()]
    tiers = sorted(dimensions, key=lambda part: float(part.get("beginRange", 0)))
    paid = (float(part["pricePerUnit"].get("USD", 0)) for part in tiers)
    return next((usd for usd in paid if usd), None)
