"""The command `verger cost`: estimate what a run costs in a cloud, without an account."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from verger.cli.app import CLUSTERS, app, console
from verger.cli.cost_flags import MachineFlags, OutputFlags, PhotoFlags, PriceFlags, SpeedFlags
from verger.cli.flags import with_flag_groups

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
    verger cost --photos 1e6 --calibrate photos/ --calibration mine.json          # measure on your photos first
    verger cost --show-prices                                                     # print prices and sources
    """
    if context.invoked_subcommand is not None:
        return
    from verger.cli import cost_estimate  # slow to import

    prices = cost_estimate.load_prices_with_warning(price_flags.prices)
    if price_flags.show_prices:
        console.print(cost_estimate.prices_table(prices))
    else:
        run = cost_estimate.describe_run(
            photo_flags, machine_flags, speed_flags, prices, is_quiet=output_flags.as_json
        )
        cost_estimate.print_estimates(run, output_flags)
        if price_flags.max_eur is not None:
            cost_estimate.check_max_eur(run, price_flags.max_eur)


@commands.command()
def refresh(
    offer: Annotated[
        list[Path], typer.Argument(metavar="OFFER.json...", help="regional files of AWS's public price list")
    ],
    region: Annotated[str, typer.Option(help="region of the prices in the files")],
    prices: Annotated[Path | None, typer.Option(help="table to update \\[default: the bundled one]")] = None,
) -> None:
    """Print the table of prices, with the prices of one region replaced by those in AWS's price list.

    Accepts the files of AmazonEC2, ElasticMapReduce, AmazonS3, awskms and AmazonVPC. The table keeps its old date
    unless the files replace all of its prices.

    \b
    verger cost refresh ec2.json emr.json s3.json --region eu-west-3 > prices.json
    verger cost --photos 1e6 --prices prices.json
    """
    from verger.cli.cost_estimate import load_prices, today
    from verger.cloud.pricing.aws_price_list import update_prices

    print(update_prices(load_prices(prices), region, offer, today()).model_dump_json(indent=1))
