"""The plan that `verger cloud` prints before it creates resources, and the question for confirmation."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import typer

from verger.cli import deployment_tables
from verger.cli.app import EXIT_ERROR, console, messages
from verger.cloud.deploy.provider import DeploymentSpec, Provider
from verger.errors import CloudError


def print_progress(line: str) -> None:
    """Print a line to stderr without wrapping it."""
    messages.print(line, highlight=False, soft_wrap=True)


def print_line(line: str) -> None:
    """Print a line to stdout without wrapping it."""
    console.print(line, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class RunToPrice:
    """A run whose cost is estimated: number of photos, their mean size (None: unknown), and limit of the cost."""

    photos: float | None = None
    mean_kb: float | None = None
    max_eur: float | None = None
    megapixels: float | None = None


def show_plan(provider: Provider, deployment: DeploymentSpec, run: RunToPrice) -> None:
    """Print a deployment's resources and cost. Raises CloudError if the cost may exceed `run.max_eur`."""
    print_line(deployment_tables.deployment_line(deployment))
    console.print(deployment_tables.resource_table(provider.plan(deployment)))
    highest_eur = show_hourly_cost(deployment)
    if run.photos is not None:
        _show_estimate(deployment, run)
    elif run.max_eur is not None:
        _check_max_hours(deployment, highest_eur, run.max_eur)


def _check_max_hours(deployment: DeploymentSpec, highest_eur: float | None, max_eur: float) -> None:
    if highest_eur is None:
        raise CloudError(f"cannot check --max-eur {max_eur:g} without prices: omit --max-eur to continue")
    total_eur = highest_eur * deployment.max_hours
    if total_eur > max_eur:
        raise CloudError(
            f"{deployment.max_hours} hours with all workers may cost {total_eur:.2f} EUR, more than --max-eur "
            f"{max_eur:g}: use fewer or smaller machines (--shape), or fewer --max-hours"
        )


def _show_estimate(deployment: DeploymentSpec, run: RunToPrice) -> None:
    from verger.cli.cost_tables import cost_table
    from verger.cloud.pricing.calibration import load_calibration
    from verger.cloud.pricing.estimate import (
        TIME_LIMITED_ENGINES,
        PhotoSet,
        check_budget,
        estimate,
        parse_photo_count,
    )
    from verger.cloud.pricing.prices import load_prices

    calibration, prices = load_calibration(), load_prices()
    photos = PhotoSet.from_sizes(parse_photo_count(run.photos), calibration, run.mean_kb, run.megapixels)
    estimated = estimate(deployment, photos, calibration, prices)
    console.print(cost_table(estimated, calibration, prices))
    longest_h = math.ceil(estimated.hours.high)
    if deployment.engine in TIME_LIMITED_ENGINES and longest_h > deployment.max_hours:
        print_line(
            f"it may take {longest_h} hours, but would be stopped after {deployment.max_hours} hours without a "
            f"result: use --max-hours {longest_h}"
        )
    if run.max_eur is not None:
        check_budget(estimated, run.max_eur)


def show_hourly_cost(deployment: DeploymentSpec) -> float | None:
    """Print the cost per hour of a deployment; return the highest cost per hour in EUR, None without prices."""
    from verger.cloud.pricing.estimate import (
        IDLING_ENGINES,
        busiest_hour,
        eur_a_month_until_down,
        eur_of,
        idle_hour,
    )
    from verger.cloud.pricing.prices import load_prices

    prices = load_prices()
    try:
        idle_eur, highest_eur = (eur_of(hour(deployment, prices), prices) for hour in (idle_hour, busiest_hour))
        eur_per_month = eur_a_month_until_down(deployment, prices)
    except CloudError as error:
        print_line(f"the cost per hour is unknown: {error}")
        return None
    print_line(
        f"{idle_eur:.2f} EUR an hour while no job runs, up to {highest_eur:.2f} EUR with all workers, in "
        f"{deployment.region}"
    )
    idle = f"after {deployment.idle_minutes} idle minutes"
    end = idle if deployment.engine in IDLING_ENGINES else "with each job"
    endpoint = f"; the network's endpoint costs {eur_per_month:.2f} EUR a month until `verger cloud down`"
    print_line(f"machines end {end}{endpoint * bool(eur_per_month)}")
    return highest_eur


def confirm(question: str, *, is_confirmed: bool) -> None:
    """Ask for confirmation unless `is_confirmed`, and exit if the answer is no.

    Raises CloudError if there is no terminal.
    """
    if is_confirmed:
        return
    if not sys.stdin.isatty():
        raise CloudError(f"{question} There is no terminal to answer on: use --yes to confirm")
    if not typer.confirm(question):
        console.print("nothing was changed")
        raise typer.Exit(EXIT_ERROR)


@contextmanager
def suggest_next_step_if_interrupted(name: str) -> Iterator[None]:
    """If the block is interrupted, print the commands that show, complete or remove the deployment."""
    try:
        yield
    except KeyboardInterrupt:
        print_progress(
            f"`verger cloud status --name {name}` shows what exists, `verger cloud up --name {name}` continues, "
            f"`verger cloud down --name {name}` removes it"
        )
        raise
