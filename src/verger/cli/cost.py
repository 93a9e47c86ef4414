"""What a run costs in a cloud, before a cent is spent."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from verger.cli.app import app, console, messages
from verger.cloud.deploy.targets import check_engine, provider_info
from verger.errors import SettingsError
from verger.settings import DECODE_MODES

if TYPE_CHECKING:
    from verger.cloud.deploy.provider import DeploymentSpec, Shape
    from verger.cloud.pricing.calibration import Calibration
    from verger.cloud.pricing.estimate import Estimate
    from verger.cloud.pricing.prices import Prices

commands = typer.Typer(invoke_without_command=True, rich_markup_mode="rich")
app.add_typer(commands, name="cost")


@commands.callback()
def cost(
    context: typer.Context,
    photos: Annotated[str | None, typer.Option(help="how many: 22688 or 1e6")] = None,
    provider: Annotated[str, typer.Option(help="aws, gcp or databricks")] = "aws",
    region: Annotated[str | None, typer.Option(help="one in the EU; Paris by default")] = None,
    engine: Annotated[
        str | None, typer.Option(help="aws: emr or serverless; gcp: dataproc or batch; databricks: job")
    ] = None,
    shape: Annotated[
        str | None, typer.Option(help="workers: 4xm5.xlarge, or 2..8xm5.xlarge with room to grow")
    ] = None,
    primary: Annotated[str | None, typer.Option(help="the machine that leads; one like the workers")] = None,
    spot: Annotated[
        bool, typer.Option("--spot/--no-spot", help="the machines that are added are spot machines")
    ] = True,
    standing_h: Annotated[float, typer.Option(help="hours it stands idle beside the run", min=0)] = 0.0,
    idle_minutes: Annotated[int, typer.Option(help="without work it ends after so many", min=0)] = 15,
    model: Annotated[str, typer.Option(help="MobileNetV2, fruitnet, or any with --calibrate")] = "MobileNetV2",
    mean_kb: Annotated[
        float | None, typer.Option(help="kB of a photo; the calibration's by default", min=0)
    ] = None,
    megapixels: Annotated[float | None, typer.Option(help="of a photo: a phone's has 12", min=0)] = None,
    decode: Annotated[str, typer.Option(help="exact or scaled, as in `verger run --decode`")] = "exact",
    packed: Annotated[bool, typer.Option("--packed", help="the photos are packed (`verger pack`)")] = False,
    calibrate: Annotated[
        str | None, typer.Option(metavar="SRC", help="measure the speed first, here, on photos of this source")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="on so many photos; 500 a core by default", min=8)] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="JSON of a calibration: read, or written with --calibrate")
    ] = None,
    max_eur: Annotated[float | None, typer.Option(help="refuse (exit 1) what may cost more", min=0)] = None,
    compare: Annotated[bool, typer.Option("--compare", help="engines and machines side by side")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="the comparison as a picture")] = None,
    prices: Annotated[Path | None, typer.Option(help="a table of prices of your own, TOML or JSON")] = None,
    show_prices: Annotated[bool, typer.Option("--show-prices", help="print the prices and their sources")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, and nothing else")] = False,
) -> None:
    """What a run costs in a cloud of the EU, before a cent is spent: hours and euros, each as a range.

    \b
    verger cost --photos 22688 --shape 2xm5.xlarge --standing-h 2 --max-eur 10     # a first try on EMR
    verger cost --photos 1e6 --engine serverless
    verger cost --photos 1e6 --megapixels 12 --decode scaled                      # photos as phones make them
    verger cost --photos 1e6 --shape 1..8xm5.xlarge --region eu-west-1
    verger cost --photos 1e6 --provider gcp --compare --plot clouds.svg
    verger cost --photos 1e6 --calibrate photos/ --calibration mine.json          # your photos, this machine
    verger cost --show-prices                                                     # where they are from, how sure
    """
    if context.invoked_subcommand is not None:
        return
    from verger.cli import cost_tables
    from verger.cloud.pricing.chart import chart
    from verger.cloud.pricing.comparison import compare as side_by_side
    from verger.cloud.pricing.estimate import PhotoSet, estimate, parse_photo_count

    table = _load_prices(prices)
    if show_prices:
        console.print(cost_tables.prices_table(table))
        return
    count = parse_photo_count(photos)
    wanted = _deployment(provider, region, engine, _shape(provider, shape, primary, spot=spot), idle_minutes)
    measured = _calibration(calibrate, model, limit, calibration, quiet=as_json)
    if decode not in DECODE_MODES:
        raise SettingsError("decode", decode, DECODE_MODES)
    asked = replace(PhotoSet.from_sizes(count, measured, mean_kb, megapixels), is_packed=packed, decode=decode)

    def estimating(other: DeploymentSpec, n_photos: int = count) -> Estimate:
        return estimate(other, replace(asked, count=n_photos), measured, table, standing_h)

    compare = compare or plot is not None
    found = side_by_side(wanted, table, estimating) if compare else [estimating(wanted)]
    if plot is not None:
        plot.write_text(chart(found))
    if as_json:
        print(json.dumps([_plain(each) for each in found] if compare else _plain(found[0])))
    else:
        shown = (
            cost_tables.comparison_table(found, wanted)
            if compare
            else cost_tables.cost_table(found[0], measured, table)
        )
        console.print(shown)
    if max_eur is not None:
        _check(wanted, max_eur, table, estimating)


@commands.command()
def refresh(
    offer: Annotated[
        list[Path], typer.Argument(metavar="OFFER.json...", help="regional files of AWS's price list")
    ],
    region: Annotated[str, typer.Option(help="the region that they are of")],
    prices: Annotated[Path | None, typer.Option(help="the table to begin with; the bundled one by default")] = None,
) -> None:
    """Print a table of prices in which AWS's own price list has replaced what we knew of a region.

    The files are those of AWS's public price list: AmazonEC2, ElasticMapReduce, AmazonS3, awskms and AmazonVPC.
    The table's date stays that of the prices that they do not replace.

    \b
    verger cost refresh ec2.json emr.json s3.json --region eu-west-3 > prices.json
    verger cost --photos 1e6 --prices prices.json
    """
    from verger.cloud.pricing.aws_price_list import update_prices
    from verger.cloud.pricing.prices import load_prices

    print(update_prices(load_prices(prices), region, offer, _today()).model_dump_json(indent=1))


def _check(wanted: DeploymentSpec, max_eur: float, table: Prices, estimating: Callable[..., Estimate]) -> None:
    """Raise CloudError where it may cost more, and say what would not."""
    from verger.cloud.pricing.comparison import compare, describe_affordable
    from verger.cloud.pricing.estimate import check_budget

    found = estimating(wanted)
    fitting = ""
    if found.eur.high > max_eur:
        others = compare(wanted, table, estimating)
        fitting = describe_affordable(max_eur, others, lambda n_photos: estimating(wanted, n_photos))
    check_budget(found, max_eur, fitting)


def _load_prices(file: Path | None) -> Prices:
    from verger.cloud.pricing.prices import STALE_DAYS, load_prices

    table = load_prices(file)
    days = table.age_days(_today())
    if days > STALE_DAYS:
        messages.print(
            f"prices, or some of them, were read {days} days ago ({table.read}): look them up anew, or let "
            "`verger cost refresh` take Amazon's",
            style="yellow",
            highlight=False,
        )
    return table


def _today() -> date:
    return datetime.now(UTC).date()


def _deployment(
    provider: str, region: str | None, engine: str | None, shape: Shape, idle_minutes: int
) -> DeploymentSpec:
    from verger.cloud.deploy.provider import DeploymentSpec
    from verger.cloud.regions import DEFAULT_REGIONS

    name = region or DEFAULT_REGIONS[provider]
    return DeploymentSpec("cost", provider, name, check_engine(provider, engine), shape, idle_minutes=idle_minutes)


def _shape(provider: str, text: str | None, primary: str | None, *, spot: bool) -> Shape:
    from verger.cloud.pricing.shapes import parse_shape

    return parse_shape(text or provider_info(provider).shape, primary, spot=spot)


def _calibration(src: str | None, model: str, limit: int | None, file: Path | None, *, quiet: bool) -> Calibration:
    """Measure, read or look up how fast a core is."""
    from verger.cloud.pricing.calibration import load_calibration, save_calibration

    if src is None:
        return load_calibration(file, model)
    from verger.cli.calibrate import calibrate
    from verger.cli.progress_bar import watching

    with watching(Console(stderr=True, quiet=quiet)) as watch:
        measured = calibrate(src, model, limit, watch)
    if file is not None:
        save_calibration(measured, file)
    return measured


def _plain(estimate: Estimate) -> dict[str, Any]:
    return asdict(estimate) | {"lines": [asdict(line) | {"usd": line.usd} for line in estimate.lines]}
