"""Rich tables of `verger cost`."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from verger.cloud.deploy.provider import DeploymentSpec
from verger.cloud.pricing.calibration import Calibration
from verger.cloud.pricing.estimate import IDLING_ENGINES, REDONE, SLOWNESS, START_MINUTES, Estimate
from verger.cloud.pricing.prices import RATES, Prices, Range
from verger.cloud.pricing.shapes import shape_text


def cost_table(estimate: Estimate, calibration: Calibration, prices: Prices) -> RenderableType:
    """Return the lines of the likely bill, the ranges of cost and time, and the assumptions of the estimate."""
    photos = estimate.photos
    title = f"{_location(estimate.deployment)}: {photos.count:,} photos of {photos.mean_bytes / 1000:,.1f} kB"
    table = Table("item", "quantity", "unit", "USD per unit", "USD", title=title, title_justify="left")
    for column in (1, 3, 4):
        table.columns[column].justify = "right"
    for line in estimate.lines:
        table.add_row(line.what, f"{line.quantity:,.2f}", line.unit, f"{line.usd_a_unit:.5g}", f"{line.usd:,.3f}")
    table.add_section()
    total = sum(line.usd for line in estimate.lines)
    table.add_row("total", "", "", "", f"{total:,.3f}", style="bold")
    totals = [
        Text(f"{_range(estimate.eur, 2)} EUR; the result is ready after {_range(estimate.hours, 2)} hours"),
        Text(
            f"in addition: {estimate.eur_a_month:,.2f} EUR a month to store photos and results, "
            f"{estimate.eur_once:,.2f} EUR once to upload the photos"
        ),
    ]
    if estimate.eur_a_month_until_down:
        per_month = f"{estimate.eur_a_month_until_down:,.2f} EUR a month"
        totals.append(Text(f"and {per_month} for the network's endpoint until `verger cloud down`"))
    notes = [*assumptions(estimate.deployment, calibration, prices), certainty(estimate.deployment, prices)]
    return Group(table, *totals, *(Text(f"- {note}", style="dim") for note in notes))


def comparison_table(estimates: list[Estimate], requested: DeploymentSpec) -> RenderableType:
    """Return one row for each estimate, in the given order, with the requested deployment in bold."""
    locations = dict.fromkeys(f"{each.deployment.provider} {each.deployment.region}" for each in estimates)
    table = Table("engine", "machines", "hours", "EUR", "likely", title=", ".join(locations), title_justify="left")
    for column in table.columns:
        column.no_wrap = True
    for column in table.columns[2:]:
        column.justify = "right"
    for estimate in estimates:
        deployment = estimate.deployment
        table.add_row(
            f"{deployment.provider} {deployment.engine}",
            _machines(deployment),
            f"{estimate.hours.typical:.2f}",
            f"{estimate.eur.low:,.2f} to {estimate.eur.high:,.2f}",
            f"{estimate.eur.typical:,.2f}",
            style="bold" if deployment == requested else None,
        )
    return Group(table, Text("hours are likely values; if ranges overlap, the order is uncertain", style="dim"))


def prices_table(prices: Prices) -> RenderableType:
    """Return a table of prices for each region, with source and reliability of each price; then the sources."""
    tables: dict[str, Table] = {}
    for location, item, price in prices.all_prices():
        if location not in tables:
            tables[location] = Table(
                "item", "USD", "per", "status", "source", title=location, title_justify="left", box=None
            )
            tables[location].columns[0].overflow = "fold"
        status = prices.sources[price.source].sure
        style = "yellow" if status == "recalled" else None
        tables[location].add_row(item, f"{price.usd:g}", RATES.get(item, "hour"), status, price.source, style=style)
    sources = (
        Text(f"{name} ({source.sure}): {source.page}{'; ' * bool(source.note)}{source.note}")
        for name, source in prices.sources.items()
    )
    head = Text(f"read {prices.read}; 1 USD = {prices.eur_per_usd} EUR ({prices.eur_read})", style="bold")
    return Group(head, *tables.values(), Text(), *sources)


def assumptions(deployment: DeploymentSpec, calibration: Calibration, prices: Prices) -> list[str]:
    """Return the assumptions behind an estimate's ranges, one sentence each."""
    cloud, _ = prices.below(deployment.provider, deployment.region)
    arch = prices.machine(deployment.shape.machine).arch
    slowness = SLOWNESS[arch]
    speed = f"{calibration.photos_per_core_s:,.0f} photos per second and core of {calibration.processor}"
    notes = [
        f"{calibration.model}, {speed} ({calibration.date})",
        f"a core in the cloud takes {_range(slowness, 2)} times as long as this core (assumed, not measured)",
        f"machines start in {_range(START_MINUTES[deployment.engine], 0)} minutes, which are billed",
    ]
    if deployment.provider == "aws" and arch == "aarch64":
        notes.append("verger has no package for EMR on Graviton, because OpenVINO's wheels need a newer Linux")
    if deployment.engine in IDLING_ENGINES:
        notes.append(f"the cost includes {deployment.idle_minutes} idle minutes, after which the machines end")
    if deployment.has_spot:
        share = _range(prices.spot_of(cloud), 2)
        notes.append(f"spot machines cost {share} of the price; at most {REDONE.high:.0%} of the work is repeated")
    return notes


def certainty(deployment: DeploymentSpec, prices: Prices) -> str:
    """Return a sentence about the reliability of this region's prices."""
    region = f"{deployment.provider} {deployment.region}"
    status = [prices.sources[price.source].sure for location, _, price in prices.all_prices() if location == region]
    counts = ", ".join(f"{status.count(kind)} {kind}" for kind in ("verified", "derived", "recalled"))
    return f"prices read {prices.read}: {counts} (--show-prices); excluding tax"


def _location(deployment: DeploymentSpec) -> str:
    return f"{deployment.provider} {deployment.region}, {deployment.engine}, {_machines(deployment)}"


def _machines(deployment: DeploymentSpec) -> str:
    return shape_text(deployment.shape) + " (spot)" * deployment.has_spot


def _range(of: Range, digits: int) -> str:
    return f"{of.low:,.{digits}f} to {of.high:,.{digits}f}, likely {of.typical:,.{digits}f}"
