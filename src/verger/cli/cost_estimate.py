"""The estimates of `verger cost`: convert flags to a run, estimate its cost, and print the estimates."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from verger.cli.app import console, messages
from verger.cli.cost_flags import MachineFlags, OutputFlags, PhotoFlags, SpeedFlags
from verger.cli.cost_tables import comparison_table, cost_table, prices_table
from verger.cli.progress_bar import show_progress
from verger.cloud.deploy.provider import DeploymentSpec
from verger.cloud.deploy.targets import check_engine, provider_info
from verger.cloud.pricing.calibration import Calibration, load_calibration, save_calibration
from verger.cloud.pricing.chart import svg_chart
from verger.cloud.pricing.comparison import compare, describe_affordable
from verger.cloud.pricing.estimate import Estimate, PhotoSet, check_budget, estimate, parse_photo_count
from verger.cloud.pricing.prices import STALE_DAYS, Prices, load_prices
from verger.cloud.pricing.shapes import parse_shape
from verger.cloud.regions import DEFAULT_REGIONS

__all__ = [
    "check_max_eur",
    "describe_run",
    "load_prices",
    "load_prices_with_warning",
    "prices_table",
    "print_estimates",
]


@dataclass(frozen=True)
class PricedRun:
    """A run on a deployment, the speed of a core, and the prices."""

    deployment: DeploymentSpec
    photos: PhotoSet
    calibration: Calibration
    prices: Prices
    standing_h: float

    def estimate(self, deployment: DeploymentSpec) -> Estimate:
        """Return the estimate for the same photos on another deployment."""
        return estimate(deployment, self.photos, self.calibration, self.prices, self.standing_h)

    def estimate_count(self, n_photos: int) -> Estimate:
        """Return the estimate for another number of photos on the same deployment."""
        return replace(self, photos=replace(self.photos, count=n_photos)).estimate(self.deployment)

    def compare(self) -> list[Estimate]:
        """Return the estimates for all engines that have prices."""
        return compare(self.deployment, self.prices, self.estimate)


def describe_run(
    photos: PhotoFlags, machines: MachineFlags, speed: SpeedFlags, prices: Prices, *, is_quiet: bool
) -> PricedRun:
    """Return the run that the flags describe; with --calibrate, measure the speed of a core first."""
    count = parse_photo_count(photos.photos)
    shape = parse_shape(
        machines.shape or provider_info(machines.provider).shape, machines.primary, spot=machines.spot
    )
    region = machines.region or DEFAULT_REGIONS[machines.provider]
    engine = check_engine(machines.provider, machines.engine)
    deployment = DeploymentSpec(
        "cost", machines.provider, region, engine, shape, idle_minutes=machines.idle_minutes
    )
    calibration = _load_calibration(speed, is_quiet=is_quiet)
    photo_set = PhotoSet.from_sizes(count, calibration, photos.mean_kb, photos.megapixels)
    photo_set = replace(photo_set, is_packed=photos.packed, decode=photos.decode)
    return PricedRun(deployment, photo_set, calibration, prices, machines.standing_h)


def print_estimates(run: PricedRun, flags: OutputFlags) -> None:
    """Print the estimate of the run or, with --compare or --plot, the estimates for all engines."""
    is_comparison = flags.compare or flags.plot is not None
    estimates = run.compare() if is_comparison else [run.estimate(run.deployment)]
    if flags.plot is not None:
        flags.plot.write_text(svg_chart(estimates))
    if flags.as_json:
        dicts = [_as_dict(each) for each in estimates]
        print(json.dumps(dicts if is_comparison else dicts[0]))
    elif is_comparison:
        console.print(comparison_table(estimates, run.deployment))
    else:
        console.print(cost_table(estimates[0], run.calibration, run.prices))


def check_max_eur(run: PricedRun, max_eur: float) -> None:
    """Raise CloudError if the run may cost more than `max_eur`.

    The message names an alternative within the limit.
    """
    requested = run.estimate(run.deployment)
    is_over = requested.eur.high > max_eur
    check_budget(
        requested, max_eur, describe_affordable(max_eur, run.compare(), run.estimate_count) if is_over else ""
    )


def load_prices_with_warning(file: Path | None) -> Prices:
    """Return the table of prices, and print a warning if it is old."""
    prices = load_prices(file)
    days = prices.age_days(today())
    if days > STALE_DAYS:
        warning = (
            f"some prices are {days} days old ({prices.read}): look them up again, or update the prices of AWS"
        )
        messages.print(f"{warning} with `verger cost refresh`", style="yellow", highlight=False)
    return prices


def today() -> date:
    """Return the current date in UTC."""
    return datetime.now(UTC).date()


def _load_calibration(flags: SpeedFlags, *, is_quiet: bool) -> Calibration:
    """Return a calibration: a new one with --calibrate, otherwise one from a file or the bundled one."""
    if flags.calibrate is None:
        return load_calibration(flags.calibration, flags.model)
    from verger.cli.speed_measurement import measure_speed  # slow to import

    with show_progress(Console(stderr=True, quiet=is_quiet, markup=False)) as progress:
        calibration = measure_speed(flags.calibrate, flags.model, flags.limit, progress)
    if flags.calibration is not None:
        save_calibration(calibration, flags.calibration)
    return calibration


def _as_dict(estimate: Estimate) -> dict[str, Any]:
    return asdict(estimate) | {"lines": [asdict(line) | {"usd": line.usd} for line in estimate.lines]}
