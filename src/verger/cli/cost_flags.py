"""The flags of `verger cost`: one dataclass for each panel of its help."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

_photos = partial(typer.Option, rich_help_panel="Photos")
_machines = partial(typer.Option, rich_help_panel="Machines")
_speed = partial(typer.Option, rich_help_panel="Speed")
_prices = partial(typer.Option, rich_help_panel="Prices")
_output = partial(typer.Option, rich_help_panel="Output")


@dataclass(frozen=True)
class PhotoFlags:
    """The photos of the run."""

    photos: Annotated[str | None, _photos(help="number of photos: 22688 or 1e6")] = None
    mean_kb: Annotated[
        float | None, _photos(help="mean size of a photo in kB \\[default: from the calibration]", min=0)
    ] = None
    megapixels: Annotated[float | None, _photos(help="megapixels of a photo; 12 for photos from phones", min=0)] = (
        None
    )
    decode: Annotated[Literal["exact", "scaled"], _photos(help="same as in `verger run --decode`")] = "exact"
    packed: Annotated[bool, _photos("--packed", help="the photos are packed by `verger pack`")] = False


@dataclass(frozen=True)
class MachineFlags:
    """The cloud and its machines."""

    provider: Annotated[str, _machines(help="aws, gcp or databricks")] = "aws"
    region: Annotated[str | None, _machines(help="a region in the EU \\[default: Paris]")] = None
    engine: Annotated[
        str | None, _machines(help="aws: emr or serverless; gcp: dataproc or batch; databricks: job")
    ] = None
    shape: Annotated[
        str | None, _machines(help="workers: 4xm5.xlarge, or 2..8xm5.xlarge to add workers under load")
    ] = None
    primary: Annotated[
        str | None, _machines(help="machine type of the primary node \\[default: the workers' type]")
    ] = None
    spot: Annotated[bool, _machines("--spot/--no-spot", help="added workers are spot machines")] = True
    standing_h: Annotated[float, _machines(help="hours in which the machines are idle after the run", min=0)] = 0.0
    idle_minutes: Annotated[int, _machines(help="minutes without work after which the machines end", min=0)] = 15


@dataclass(frozen=True)
class SpeedFlags:
    """The speed of a core: read from a calibration file, or measured with --calibrate."""

    model: Annotated[str, _speed(help="MobileNetV2 or fruitnet; with --calibrate, any network")] = "MobileNetV2"
    calibrate: Annotated[
        str | None, _speed(metavar="SRC", help="first measure this machine's speed on the photos in SRC")
    ] = None
    limit: Annotated[
        int | None, _speed(help="with --calibrate: number of photos \\[default: 500 per core]", min=8)
    ] = None
    calibration: Annotated[
        Path | None, _speed(help="JSON file of a calibration to read; with --calibrate, file to write")
    ] = None


@dataclass(frozen=True)
class PriceFlags:
    """The table of prices, and the maximum cost."""

    max_eur: Annotated[float | None, _prices(help="exit with 1 if the run may cost more", min=0)] = None
    prices: Annotated[Path | None, _prices(help="file with your own table of prices, TOML or JSON")] = None
    show_prices: Annotated[bool, _prices("--show-prices", help="print the prices and their sources")] = False


@dataclass(frozen=True)
class OutputFlags:
    """The output of the command."""

    compare: Annotated[bool, _output("--compare", help="compare engines and machines")] = False
    plot: Annotated[Path | None, _output(metavar="FILE.svg", help="draw the comparison")] = None
    as_json: Annotated[bool, _output("--json", help="print only JSON")] = False
