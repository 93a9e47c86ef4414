"""What `verger cost` prints, as rich tables."""

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
    """Return the bill line by line as it is likely to be, what it comes to, and what nobody knows beforehand."""
    photos = estimate.photos
    title = f"{_place(estimate.deployment)}: {photos.count:,} photos of {photos.mean_bytes / 1000:,.1f} kB"
    table = Table("what", "", "unit", "USD a unit", "USD", title=title, title_justify="left")
    for column in (1, 3, 4):
        table.columns[column].justify = "right"
    for line in estimate.lines:
        table.add_row(line.what, f"{line.quantity:,.2f}", line.unit, f"{line.usd_a_unit:.5g}", f"{line.usd:,.3f}")
    table.add_section()
    total = sum(line.usd for line in estimate.lines)
    table.add_row("in all", "", "", "", f"{total:,.3f}", style="bold")
    told = [
        Text(f"{_range(estimate.eur, 2)} EUR; the result is there after {_range(estimate.hours, 2)} hours"),
        Text(
            f"beside that: {estimate.eur_a_month:,.2f} EUR a month while photos and results lie there, "
            f"{estimate.eur_once:,.2f} EUR once to bring the photos"
        ),
    ]
    if estimate.eur_a_month_until_down:
        until_down = f"{estimate.eur_a_month_until_down:,.2f} EUR a month"
        told.append(
            Text(f"and {until_down} for the network's endpoint, whether anything runs or not, until `down`")
        )
    words = [*assumptions(estimate.deployment, calibration, prices), certainty(estimate.deployment, prices)]
    return Group(table, *told, *(Text(f"- {word}", style="dim") for word in words))


def comparison_table(estimates: list[Estimate], asked: DeploymentSpec) -> RenderableType:
    """Return engines and machines side by side, as they come; the one asked for stands out."""
    places = dict.fromkeys(f"{made.provider} {made.region}" for made in (each.deployment for each in estimates))
    table = Table("engine", "machines", "hours", "EUR", "likely", title=", ".join(places), title_justify="left")
    for column in table.columns:
        column.no_wrap = True
    for column in table.columns[2:]:
        column.justify = "right"
    for estimate in estimates:
        made = estimate.deployment
        table.add_row(
            f"{made.provider} {made.engine}",
            _machines(made),
            f"{estimate.hours.typical:.2f}",
            f"{estimate.eur.low:,.2f} to {estimate.eur.high:,.2f}",
            f"{estimate.eur.typical:,.2f}",
            style="bold" if made == asked else None,
        )
    return Group(table, Text("where ranges overlap the order says little; hours are the likely ones", style="dim"))


def prices_table(prices: Prices) -> RenderableType:
    """Return every price of every place, its source, and how sure that is; then the sources."""
    tables: dict[str, Table] = {}
    for place, what, price in prices.every():
        if place not in tables:
            tables[place] = Table("", "USD", "a", "sure", "source", title=place, title_justify="left", box=None)
            tables[place].columns[0].overflow = "fold"
        sure = prices.sources[price.source].sure
        style = "yellow" if sure == "recalled" else None
        tables[place].add_row(what, f"{price.usd:g}", RATES.get(what, "hour"), sure, price.source, style=style)
    sources = (
        Text(f"{name} ({source.sure}): {source.page}{'; ' * bool(source.note)}{source.note}")
        for name, source in prices.sources.items()
    )
    head = Text(f"read {prices.read}; 1 USD = {prices.eur_per_usd} EUR ({prices.eur_read})", style="bold")
    return Group(head, *tables.values(), Text(), *sources)


def assumptions(deployment: DeploymentSpec, calibration: Calibration, prices: Prices) -> list[str]:
    """Return in words what makes the ranges."""
    cloud, _ = prices.below(deployment.provider, deployment.region)
    arch = prices.machine(deployment.shape.machine).arch
    slowness = SLOWNESS[arch]
    speed = f"{calibration.photos_per_core_s:,.0f} photos a second and core of {calibration.processor}"
    said = [
        f"{calibration.model}, {speed} ({calibration.date})",
        f"theirs take {_range(slowness, 2)} times as long: assumed, never measured",
        f"machines start in {_range(START_MINUTES[deployment.engine], 0)} minutes, which are paid",
    ]
    if deployment.provider == "aws" and arch == "aarch64":
        said.append("verger has no package for EMR on Graviton: OpenVINO's wheels ask for a newer Linux")
    if deployment.engine in IDLING_ENGINES:
        said.append(f"{deployment.idle_minutes} minutes without work before they end are in it")
    if deployment.has_spot:
        share = _range(prices.spot_of(cloud), 2)
        said.append(f"spot machines at {share} of the price, {REDONE.high:.0%} done again at most")
    return said


def certainty(deployment: DeploymentSpec, prices: Prices) -> str:
    """Return in words how sure the prices of this place are."""
    place = f"{deployment.provider} {deployment.region}"
    sure = [prices.sources[price.source].sure for where, _, price in prices.every() if where == place]
    counts = ", ".join(f"{sure.count(kind)} {kind}" for kind in ("verified", "derived", "recalled"))
    return f"prices read {prices.read}: {counts} (--show-prices); without tax"


def _place(made: DeploymentSpec) -> str:
    return f"{made.provider} {made.region}, {made.engine}, {_machines(made)}"


def _machines(made: DeploymentSpec) -> str:
    return shape_text(made.shape) + " (spot)" * made.has_spot


def _range(of: Range, digits: int) -> str:
    return f"{of.low:,.{digits}f} to {of.high:,.{digits}f}, likely {of.typical:,.{digits}f}"
