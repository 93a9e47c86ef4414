"""The command `verger cost`: estimate what a run costs in a cloud, without an account."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from verger.cli.app import CLUSTERS, app, console, messages
from verger.cli.cost_flags import MachineFlags, OutputFlags, PhotoFlags, PriceFlags, SpeedFlags
from verger.cli.flags import with_flag_groups
from verger.cloud.deploy.targets import check_engine, provider_info

if TYPE_CHECKING:
    from verger.cloud.deploy.provider import DeploymentSpec
    from verger.cloud.pricing.calibration import Calibration
    from verger.cloud.pricing.estimate import Estimate, PhotoSet
    from verger.cloud.pricing.prices import Prices

    # Estimates the run on a deployment, optionally with another number of photos.
    Estimator = Callable[..., Estimate]

commands = typer.Typer(invoke_without_command=True, rich_markup_mode="rich")
app.add_typer(commands, name="cost", rich_help_panel=CLUSTERS)


@commands.callback()
@with_flag_groups
def cost(
    context: typer.Context,
    photo_flags: PhotoFlags,
    machine_flags: MachineFlags,
    speed_flags: SpeedFlags,
    price_flags: PriceFlags,
    output_flags: OutputFlags,
) -> None:
    """Estimate the hours and euros of a run in a cloud of the EU, each as a range.

    \b
    verger cost --photos 22688 --shape 2xm5.xlarge --standing-h 2 --max-eur 10     # a first try on EMR
    verger cost --photos 1e6 --engine serverless
    verger cost --photos 1e6 --megapixels 12 --decode scaled                      # photos from phones
    verger cost --photos 1e6 --shape 1..8xm5.xlarge --region eu-west-1
    verger cost --photos 1e6 --provider gcp --compare --plot clouds.svg
    verger cost --photos 1e6 --calibrate photos/ --calibration mine.json          # your photos, this machine
    verger cost --show-prices                                                     # with their sources
    """
    if context.invoked_subcommand is not None:
        return
    from verger.cloud.pricing.estimate import estimate, parse_photo_count

    prices = _load_prices(price_flags.prices)
    if price_flags.show_prices:
        _print_prices(prices)
        return
    count = parse_photo_count(photo_flags.photos)
    deployment = _make_deployment(machine_flags)
    calibration = _load_calibration(speed_flags, is_quiet=output_flags.as_json)
    photos = _make_photos(count, photo_flags, calibration)

    def estimate_run(other: DeploymentSpec, n_photos: int = count) -> Estimate:
        return estimate(other, replace(photos, count=n_photos), calibration, prices, machine_flags.standing_h)

    if output_flags.compare or output_flags.plot is not None:
        _print_comparison(deployment, prices, estimate_run, output_flags)
    else:
        _print_estimate(estimate_run(deployment), calibration, prices, output_flags)
    if price_flags.max_eur is not None:
        _check_budget(deployment, price_flags.max_eur, prices, estimate_run)


@commands.command()
def refresh(
    offer: Annotated[
        list[Path], typer.Argument(metavar="OFFER.json...", help="regional files of AWS's public price list")
    ],
    region: Annotated[str, typer.Option(help="the region of the files")],
    prices: Annotated[Path | None, typer.Option(help="table to update \\[default: the bundled one]")] = None,
) -> None:
    """Print the table of prices, with the prices of a region replaced by those of AWS's price list.

    It reads the files of AmazonEC2, ElasticMapReduce, AmazonS3, awskms and AmazonVPC. The table keeps the date of
    the prices that they do not replace.

    \b
    verger cost refresh ec2.json emr.json s3.json --region eu-west-3 > prices.json
    verger cost --photos 1e6 --prices prices.json
    """
    from verger.cloud.pricing.aws_price_list import update_prices
    from verger.cloud.pricing.prices import load_prices

    print(update_prices(load_prices(prices), region, offer, _today()).model_dump_json(indent=1))


def _make_photos(count: int, flags: PhotoFlags, calibration: Calibration) -> PhotoSet:
    from verger.cloud.pricing.estimate import PhotoSet

    photos = PhotoSet.from_sizes(count, calibration, flags.mean_kb, flags.megapixels)
    return replace(photos, is_packed=flags.packed, decode=flags.decode)


def _make_deployment(flags: MachineFlags) -> DeploymentSpec:
    from verger.cloud.deploy.provider import DeploymentSpec
    from verger.cloud.pricing.shapes import parse_shape
    from verger.cloud.regions import DEFAULT_REGIONS

    shape = parse_shape(flags.shape or provider_info(flags.provider).shape, flags.primary, spot=flags.spot)
    region = flags.region or DEFAULT_REGIONS[flags.provider]
    engine = check_engine(flags.provider, flags.engine)
    return DeploymentSpec("cost", flags.provider, region, engine, shape, idle_minutes=flags.idle_minutes)


def _load_calibration(flags: SpeedFlags, *, is_quiet: bool) -> Calibration:
    """Return the calibration of a file, the bundled one, or a new one with --calibrate."""
    from verger.cloud.pricing.calibration import load_calibration, save_calibration

    if flags.calibrate is None:
        return load_calibration(flags.calibration, flags.model)
    from verger.cli.progress_bar import show_progress
    from verger.cli.speed_measurement import measure_speed

    with show_progress(Console(stderr=True, quiet=is_quiet)) as progress:
        calibration = measure_speed(flags.calibrate, flags.model, flags.limit, progress)
    if flags.calibration is not None:
        save_calibration(calibration, flags.calibration)
    return calibration


def _print_prices(prices: Prices) -> None:
    from verger.cli.cost_tables import prices_table

    console.print(prices_table(prices))


def _print_estimate(estimate: Estimate, calibration: Calibration, prices: Prices, flags: OutputFlags) -> None:
    from verger.cli.cost_tables import cost_table

    if flags.as_json:
        print(json.dumps(_as_dict(estimate)))
    else:
        console.print(cost_table(estimate, calibration, prices))


def _print_comparison(
    deployment: DeploymentSpec, prices: Prices, estimate_run: Estimator, flags: OutputFlags
) -> None:
    """Print the estimates of all engines, and draw them into the file of --plot."""
    from verger.cli.cost_tables import comparison_table
    from verger.cloud.pricing.chart import svg_chart
    from verger.cloud.pricing.comparison import compare

    estimates = compare(deployment, prices, estimate_run)
    if flags.plot is not None:
        flags.plot.write_text(svg_chart(estimates))
    if flags.as_json:
        print(json.dumps([_as_dict(estimate) for estimate in estimates]))
    else:
        console.print(comparison_table(estimates, deployment))


def _check_budget(deployment: DeploymentSpec, max_eur: float, prices: Prices, estimate_run: Estimator) -> None:
    """Raise CloudError if the run may cost more than `max_eur`, naming an alternative that does not."""
    from verger.cloud.pricing.comparison import compare, describe_affordable
    from verger.cloud.pricing.estimate import check_budget

    estimate = estimate_run(deployment)
    alternative = ""
    if estimate.eur.high > max_eur:
        others = compare(deployment, prices, estimate_run)
        alternative = describe_affordable(max_eur, others, lambda n_photos: estimate_run(deployment, n_photos))
    check_budget(estimate, max_eur, alternative)


def _load_prices(file: Path | None) -> Prices:
    """Return the table of prices, with a warning if it is old."""
    from verger.cloud.pricing.prices import STALE_DAYS, load_prices

    prices = load_prices(file)
    days = prices.age_days(_today())
    if days > STALE_DAYS:
        messages.print(
            f"some prices were read {days} days ago ({prices.read}): look them up again, or update those of "
            "AWS with `verger cost refresh`",
            style="yellow",
            highlight=False,
        )
    return prices


def _today() -> date:
    return datetime.now(UTC).date()


def _as_dict(estimate: Estimate) -> dict[str, Any]:
    return asdict(estimate) | {"lines": [asdict(line) | {"usd": line.usd} for line in estimate.lines]}
