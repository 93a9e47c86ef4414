"""From photos to features to components."""

from __future__ import annotations

from typing import Annotated

import typer

from verger.cli import tables
from verger.cli.app import Features, Result, Source, Update, app, console, messages
from verger.cli.flags import chain_command
from verger.cli.progress_bar import watching
from verger.process.progress import Progress
from verger.settings import (
    ENGINE,
    EXPORT,
    NETWORK,
    PACK,
    PHOTOS,
    PRIVACY,
    REDUCTION,
    RESULT,
    RESUME,
    SPARK,
    Settings,
)
from verger.storage.manifest import Manifest
from verger.storage.uri import any_path, local_folder


@chain_command(PHOTOS, NETWORK, REDUCTION, EXPORT, RESULT, RESUME, ENGINE, SPARK)
def run(src: Source, out: Result, settings: Settings, watch: Progress) -> Manifest:
    """The whole chain: photos -> features -> components, and a report.

    \b
    verger run photos/ out/
    verger run photos/ out/ --limit 200                    # try a part first
    verger run photos/ out/ --model VGG16 --pooling max --variance 0.95
    verger run photos/ out/ --overwrite --export csv,json --single-file
    verger run photos/ out/ --resume                       # go on, or take in what is new
    VERGER_WEIGHTS=random:0 verger run 'photos/*/good' out/
    """
    from verger.pipeline import chain

    return chain.run(src, any_path(out), settings, watch)


@chain_command(PHOTOS, NETWORK, EXPORT, RESULT, RESUME, ENGINE, SPARK)
def features(src: Source, out: Result, settings: Settings, watch: Progress) -> Manifest:
    """The first half alone: photos -> features.

    \b
    verger features photos/ out/
    verger features photos/ out/ --label 'regex:/([a-z]+)_[0-9]+[.]jpg$'
    verger features photos/ out/ --weights my-model.keras --preprocessing tf
    """
    from verger.pipeline import chain

    return chain.features(src, any_path(out), settings, watch)


@chain_command(PHOTOS, PACK, PRIVACY, RESULT, ENGINE, SPARK)
def pack(src: Source, out: Result, settings: Settings, watch: Progress) -> Manifest:
    """Many small photos -> Parquet shards of some 256 MB, which `run` and `features` take as their source.

    What the files tell beside the picture (GPS, camera, names, times) is left out; no pixel changes.

    \b
    verger pack s3a://bucket/photos s3a://bucket/packed    # a request a shard instead of one a photo
    verger run s3a://bucket/packed s3a://bucket/out
    """
    from verger.pipeline import chain

    return chain.pack(src, any_path(out), settings, watch)


@chain_command(REDUCTION, EXPORT, RESULT, ENGINE, SPARK)
def reduce(features: Features, out: Result, settings: Settings, watch: Progress, update: Update = None) -> Manifest:
    """The second half alone: features -> components.

    \b
    verger reduce out/ reduced/ --components 50
    verger reduce new/ updated/ --update out/      # the old features are not needed
    """
    from verger.pipeline import chain

    state = any_path(update) if update else None
    return chain.reduce(any_path(features), any_path(out), settings, watch, state)


@app.command()
def sample(
    out: Result,
    per_kind: Annotated[int, typer.Option(help="photos of each of the ten kinds")] = 40,
    seed: Annotated[int, typer.Option(help="other fruit, other seed")] = 0,
) -> None:
    """Render labelled fruit-like photos to try the chain on. They are synthetic.

    \b
    verger sample photos/ && verger run photos/ out/
    """
    from verger.sample import SampleOptions, render_sample

    n_photos = render_sample(local_folder(out), SampleOptions(per_kind=per_kind, seed=seed))
    console.print(f"{n_photos} synthetic photos in {local_folder(out)}; next: verger run {out} OUT")


@app.command()
def augment(
    photos: Source,
    out: Result,
    per_photo: Annotated[int, typer.Option(help="views of each photo, besides the whole")] = 12,
    size_px: Annotated[int, typer.Option(help="width and height of a view")] = 256,
    smallest: Annotated[float, typer.Option(help="share of a photo that a view shows at least")] = 0.12,
    seed: Annotated[int, typer.Option(help="other views, other seed")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an existing result")] = False,
) -> None:
    """Write views of labelled photos, cropped, mirrored, in other light: to train a better classifier on.

    \b
    verger augment photos/ views/
    verger features views/ out/ && verger train out/ classifier/ --group photo
    """
    from verger.learn.augment.augment import AugmentOptions, write_views

    options = AugmentOptions(per_photo=per_photo, size_px=size_px, smallest=smallest, seed=seed)
    with watching(messages) as watch:
        manifest = write_views(photos, local_folder(out), options, watch, overwrite=overwrite)
    console.print(tables.augment_summary(manifest, local_folder(out)))
