"""The top of the report: source and network of the run, its main numbers, and warnings."""

from __future__ import annotations

from dataclasses import dataclass

from verger.kernel.networks.view_sets import view_set_name
from verger.report.wording import (
    format_count,
    format_criterion,
    format_duration,
    format_rate,
    format_share,
    format_time,
)
from verger.storage.manifest import Manifest


@dataclass(frozen=True)
class Tile:
    """A main number, its caption, and an optional note in small print."""

    value: str
    word: str
    note: str = ""


@dataclass(frozen=True)
class PhotoCounts:
    """Numbers of photos in the result; `n_rejected` is None if the run read no photos (`verger reduce`)."""

    n_photos: int
    n_rejected: int | None
    n_labels: int
    n_unlabelled: int


@dataclass(frozen=True)
class Header:
    """The texts at the top of the page.

    facts: (name, value) pairs. is_random: whether the network has random weights; the page then shows a warning
    that the features have no meaning.
    """

    title: str
    line: str
    facts: list[tuple[str, str]]
    tiles: list[Tile]
    is_random: bool
    warnings: list[str]


def make_header(name: str, manifest: Manifest, counts: PhotoCounts) -> Header:
    """Return the top of the page of the result folder `name`."""
    weights = manifest.text("network", "weights_from") or ""
    created = manifest.text("created")
    facts = {
        "Source": manifest.text("source"),
        "Created": None if created is None else format_time(created),
        "Network": manifest.text("network", "model"),
        "Views": _views(manifest),
        "Weights": weights,
    }
    return Header(
        title=name,
        line=_describe_run(manifest),
        facts=[(word, value) for word, value in facts.items() if value],
        tiles=_make_tiles(manifest, counts),
        is_random=weights.startswith("random:"),
        warnings=_warnings(manifest, counts),
    )


def _views(manifest: Manifest) -> str | None:
    """Return the name of the set of views; None if the manifest has none."""
    views = manifest.section("network").get("views")
    return None if views is None else view_set_name(views)


def _describe_run(manifest: Manifest) -> str:
    """Return one line about the run: network, image size, features, components."""
    network_text = _describe_network(manifest)
    k = manifest.number("reduction", "n_components")
    if k is None:
        return f"{network_text}." if network_text else ""
    scaled = "standardised " if manifest.section("reduction").get("standardize") is True else ""
    if network_text:
        return f"{network_text}; PCA reduced these {scaled}features to {_format_components(k)}."
    n_features = manifest.number("reduction", "n_features")
    features = f"{format_count(n_features)} {scaled}features" if n_features else f"{scaled}features"
    return f"PCA reduced {features} to {_format_components(k)}."


def _describe_network(manifest: Manifest) -> str:
    network = manifest.section("network")
    if not network:
        return ""
    n_features = manifest.number("network", "n_features")
    size = network.get("size_px")
    width, height = size if isinstance(size, list) and len(size) == 2 else (size, size)
    network_text = f"{manifest.text('network', 'model') or 'A network'} processed each photo"
    network_text += f" at {width} \u00d7 {height} pixels" if size else ""
    return f"{network_text} and computed {format_count(n_features) + ' ' if n_features else ''}features"


def _format_components(k: float) -> str:
    return f"{format_count(k)} component{'' if k == 1 else 's'}"


def _make_tiles(manifest: Manifest, counts: PhotoCounts) -> list[Tile]:
    tiles = _photo_tiles(manifest, counts)
    unlabelled = f"{format_count(counts.n_unlabelled)} photos without a label" if counts.n_unlabelled else ""
    tiles.append(Tile(format_count(counts.n_labels), "labels" if counts.n_labels != 1 else "label", unlabelled))
    return tiles + _reduction_tiles(manifest) + _speed_tiles(manifest)


def _photo_tiles(manifest: Manifest, counts: PhotoCounts) -> list[Tile]:
    if counts.n_rejected is None:
        return [Tile(format_count(counts.n_photos), "photos")]
    n_listed = manifest.number("counts", "listed") or counts.n_photos + counts.n_rejected
    n_features = manifest.number("network", "n_features")
    each = f"{format_count(n_features)} features each" if n_features else ""
    share = f"{format_share(counts.n_rejected / n_listed)} of the photos" if counts.n_rejected else ""
    return [
        Tile(format_count(n_listed), "photos listed"),
        Tile(format_count(counts.n_photos), "featurized", each),
        Tile(format_count(counts.n_rejected), "rejected", share or "all photos were readable"),
    ]


def _reduction_tiles(manifest: Manifest) -> list[Tile]:
    k = manifest.number("reduction", "n_components")
    kept = manifest.number("reduction", "explained_variance_ratio")
    criterion = manifest.text("reduction", "criterion")
    tiles = []
    if k is not None:
        note = f"requested: {format_criterion(criterion)}" if criterion else ""
        tiles.append(Tile(format_count(k), "components" if k != 1 else "component", note))
    if kept is not None:
        tiles.append(Tile(format_share(kept), "variance kept"))
    return tiles


def _speed_tiles(manifest: Manifest) -> list[Tile]:
    rate, total_s = manifest.number("photos_per_s"), manifest.number("timings_s", "total")
    tiles = []
    if rate is not None:
        tiles.append(Tile(format_rate(rate), "photos per second", "while featurizing"))
    if total_s is not None:
        tiles.append(Tile(format_duration(total_s), "total time"))
    return tiles


def _warnings(manifest: Manifest, counts: PhotoCounts) -> list[str]:
    """Return a warning if some listed photos are neither in `features` nor in `rejected`."""
    listed = manifest.number("counts", "listed")
    if listed is None or counts.n_rejected is None or listed == counts.n_photos + counts.n_rejected:
        return []
    return [
        f"{format_count(listed)} photos were listed, but the result holds "
        f"{format_count(counts.n_photos + counts.n_rejected)} "
        f"({format_count(counts.n_photos)} featurized, {format_count(counts.n_rejected)} rejected): "
        "it is incomplete or was changed after the run."
    ]
