"""Commands of the pipeline: run, features, reduce and pack; and `sample`, which makes photos to try verger."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Literal

import typer

from verger.cli.app import PIPELINE, Features, Result, Source, Update, app, console
from verger.cli.flags import pipeline_command
from verger.cli.tables import history_table
from verger.process.progress import Progress
from verger.settings import SETTING_GROUPS, Settings
from verger.storage.manifest import Manifest
from verger.storage.uri import any_path, local_folder


@pipeline_command(SETTING_GROUPS["run"], PIPELINE)
def run(src: Source, out: Result, settings: Settings, progress: Progress) -> Manifest:
    """Compute the features and principal components of photos, and write a report.

    \b
    verger run photos/ out/
    verger run photos/ out/ --limit 200                    # try a few photos first
    verger run photos/ out/ --model VGG16 --pooling max --variance 0.95
    verger run photos/ out/ --views crops                  # average the vectors of five crops of each photo
    verger run photos/ out/ --overwrite --export csv,json --single-file
    verger run photos/ out/ --resume                       # finish an interrupted run, or add new photos
    VERGER_WEIGHTS=random:0 verger run 'photos/*/good' out/
    """
    from verger.pipeline import chain

    return chain.run(src, any_path(out), settings, progress)


@pipeline_command(SETTING_GROUPS["features"], PIPELINE)
def features(src: Source, out: Result, settings: Settings, progress: Progress) -> Manifest:
    """Compute the features of photos: the first half of `verger run`.

    \b
    verger features photos/ out/
    verger features photos/ out/ --label 'regex:/(\\[a-z]+)_[0-9]+[.]jpg$'
    verger features photos/ out/ --weights my-model.keras --preprocessing tf
    verger features photos/ out/ --views center            # without the margins of each photo
    """
    from verger.pipeline import chain

    return chain.features(src, any_path(out), settings, progress)


@pipeline_command(SETTING_GROUPS["reduce"], PIPELINE)
def reduce(
    features: Features, out: Result, settings: Settings, progress: Progress, update: Update = None
) -> Manifest:
    """Compute the principal components of features: the second half of `verger run`.

    \b
    verger reduce out/ reduced/ --components 50
    verger reduce new/ updated/ --update out/      # does not read the old features
    """
    from verger.pipeline import chain

    state = any_path(update) if update else None
    return chain.reduce(any_path(features), any_path(out), settings, progress, state)


@pipeline_command(SETTING_GROUPS["pack"], PIPELINE)
def pack(src: Source, out: Result, settings: Settings, progress: Progress) -> Manifest:
    """Pack many small photos into a few Parquet files, which `run` and `features` accept as SRC.

    The files hold about 256 MB each. Metadata (GPS, camera, names, times) is removed; pixels do not change.

    \b
    verger pack s3a://bucket/photos s3a://bucket/packed    # later runs send one request per file, not per photo
    verger run s3a://bucket/packed s3a://bucket/out
    """
    from verger.pipeline import chain

    return chain.pack(src, any_path(out), settings, progress)


@app.command(rich_help_panel=PIPELINE)
def history(
    out: Result,
    table: Annotated[Literal["features", "rejected", "components"], typer.Option(help="which table")] = "features",
    as_json: Annotated[bool, typer.Option("--json", help="print the versions as JSON")] = False,
) -> None:
    """List the versions of a result that was written with --format delta, the newest first.

    \b
    verger run photos/ out/ --format delta
    verger history out/
    verger history out/ --table components --json
    """
    from verger.storage.delta_tables import read_history

    versions = read_history(any_path(out) / table)
    if as_json:
        print(json.dumps([asdict(one) | {"time": one.time.isoformat()} for one in versions], indent=2))
    else:
        console.print(history_table(versions))


@app.command(rich_help_panel=PIPELINE)
def sample(
    out: Result,
    per_kind: Annotated[int, typer.Option(help="number of photos for each of the ten kinds of fruit")] = 40,
    seed: Annotated[int, typer.Option(help="random seed")] = 0,
) -> None:
    """Render labelled, synthetic photos of fruit, to try verger without real photos.

    \b
    verger sample photos/ && verger run photos/ out/
    """
    from verger.sample import SampleOptions, render_sample

    n_photos = render_sample(local_folder(out), SampleOptions(per_kind=per_kind, seed=seed))
    console.print(f"{n_photos} synthetic photos in {local_folder(out)}; next: verger run {out} OUT")
