"""The work of `verger warm-up`: convert the default network, and archive the classes that Spark loads."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

from verger.engine.spark.java import class_archive, create_base_archive
from verger.kernel.networks.network import prepare_network
from verger.pipeline import chain
from verger.pipeline.network_choice import network_spec
from verger.process.progress import Progress
from verger.sample import SampleOptions, render_sample
from verger.settings import load_settings


def warm_up(progress: Progress) -> Path | None:
    """Convert the default network, run the pipeline on Spark, and archive the classes that the JVM loaded.

    Returns the path of the archive; None if Spark is not installed, or if its Java cannot write an archive.
    """
    if find_spec("pyspark") is None:
        progress.stage("convert network")
        prepare_network(network_spec(load_settings()))
        return None
    archive = class_archive()
    create_base_archive()
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="verger-warm-up-", dir=archive.parent) as name:
        folder = Path(name)
        render_sample(folder / "photos", SampleOptions(per_kind=1))
        written = folder / archive.name
        _run_pipeline(folder, written, progress)
        if not written.is_file():
            return None
        written.replace(archive)
    return archive


def _run_pipeline(folder: Path, archive: Path, progress: Progress) -> None:
    settings = load_settings(components="2", export="csv,json", report=False, engine="spark")
    chain.run(str(folder / "photos"), folder / "result", settings, progress, archive=archive)
