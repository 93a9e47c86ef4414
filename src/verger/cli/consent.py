"""What a person is told before something is made or removed, and the question whether to."""

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


def say(line: str) -> None:
    """Tell how far it is."""
    messages.print(line, markup=False, highlight=False, soft_wrap=True)


def tell(line: str) -> None:
    """Print a line that is as wide as it is."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Asked:
    """A run to be priced: its photos, their mean kB or megapixels where known, and what it may cost at most."""

    photos: float | None = None
    mean_kb: float | None = None
    max_eur: float | None = None
    megapixels: float | None = None


def show_plan(provider: Provider, wanted: DeploymentSpec, asked: Asked) -> None:
    """Print what would exist and what it costs; raises CloudError where that is more than is allowed."""
    tell(deployment_tables.deployment_line(wanted))
    console.print(deployment_tables.resource_table(provider.plan(wanted)))
    dearest_eur = tell_hourly(wanted)
    if asked.photos is not None:
        _show_estimate(wanted, asked)
    elif asked.max_eur is not None:
        _check_hours(wanted, dearest_eur, asked.max_eur)


def _check_hours(wanted: DeploymentSpec, dearest_eur: float | None, max_eur: float) -> None:
    if dearest_eur is None:
        raise CloudError(f"nobody knows whether it stays under --max-eur {max_eur:g}: leave that out to go on")
    most_eur = dearest_eur * wanted.max_hours
    if most_eur > max_eur:
        raise CloudError(
            f"{wanted.max_hours} hours with all workers may cost {most_eur:.2f} EUR, more than --max-eur "
            f"{max_eur:g}: fewer or smaller machines (--shape), or fewer --max-hours"
        )


def _show_estimate(wanted: DeploymentSpec, asked: Asked) -> None:
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
    photos = PhotoSet.from_sizes(parse_photo_count(asked.photos), calibration, asked.mean_kb, asked.megapixels)
    estimated = estimate(wanted, photos, calibration, prices)
    console.print(cost_table(estimated, calibration, prices))
    longest_h = math.ceil(estimated.hours.high)
    if wanted.engine in TIME_LIMITED_ENGINES and longest_h > wanted.max_hours:
        tell(
            f"it may take {longest_h} hours, and would be ended after {wanted.max_hours}, paid for and not done: "
            f"say --max-hours {longest_h}"
        )
    if asked.max_eur is not None:
        check_budget(estimated, asked.max_eur)


def tell_hourly(here: DeploymentSpec) -> float | None:
    """Print what a deployment costs, and return what an hour costs at most, in EUR; None where prices lack."""
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
        idle_eur, dearest_eur = (eur_of(hour(here, prices), prices) for hour in (idle_hour, busiest_hour))
        stays = eur_a_month_until_down(here, prices)
    except CloudError as error:
        tell(f"what an hour costs is not known: {error}")
        return None
    tell(
        f"{idle_eur:.2f} EUR an hour while nothing runs, up to {dearest_eur:.2f} with all workers, in {here.region}"
    )
    ends = f"after {here.idle_minutes} idle minutes" if here.engine in IDLING_ENGINES else "with each job"
    until_down = (
        f"; the network's endpoint costs {stays:.2f} EUR a month until `verger cloud down`" if stays else ""
    )
    tell(f"machines end {ends}{until_down}")
    return dearest_eur


def ask(question: str, *, is_agreed: bool) -> None:
    """Go on where the answer is yes. Raises CloudError where there is nobody to ask."""
    if is_agreed:
        return
    if not sys.stdin.isatty():
        raise CloudError(f"{question} There is no terminal to ask on: say --yes, if that is what you want")
    if not typer.confirm(question):
        console.print("nothing was changed")
        raise typer.Exit(EXIT_ERROR)


@contextmanager
def telling_what_to_do_next(name: str) -> Iterator[None]:
    """Where it is interrupted, say that what exists is known."""
    try:
        yield
    except KeyboardInterrupt:
        say(
            f"`verger cloud status --name {name}` tells what there is, `verger cloud up --name {name}` goes on, "
            f"`verger cloud down --name {name}` removes it"
        )
        raise
