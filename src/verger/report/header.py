"""The top of the page: what ran, the big numbers, and what a reader must not overlook."""

from __future__ import annotations

from dataclasses import dataclass

from verger.report.wording import say_count, say_criterion, say_duration, say_rate, say_share, say_time
from verger.storage.manifest import Manifest


@dataclass(frozen=True)
class Tile:
    """One big number, the word below it and, smaller, where it comes from."""

    value: str
    word: str
    note: str = ""


@dataclass(frozen=True)
class Found:
    """What the tables hold, counted; `n_rejected` is None where no photo was read (`verger reduce`)."""

    n_photos: int
    n_rejected: int | None
    n_labels: int
    n_unlabelled: int


@dataclass(frozen=True)
class Header:
    """Facts are (word, value) pairs under the title; `is_random` asks for the loud banner."""

    title: str
    line: str
    facts: list[tuple[str, str]]
    tiles: list[Tile]
    is_random: bool
    warnings: list[str]


def head_page(name: str, manifest: Manifest, found: Found) -> Header:
    """Return the top of the page of the result folder `name`."""
    weights = manifest.text("network", "weights_from") or ""
    created = manifest.text("created")
    facts = {
        "Source": manifest.text("source"),
        "Made": None if created is None else say_time(created),
        "Network": manifest.text("network", "model"),
        "Weights": weights,
    }
    return Header(
        title=name,
        line=_tell(manifest),
        facts=[(word, value) for word, value in facts.items() if value],
        tiles=_lay_tiles(manifest, found),
        is_random=weights.startswith("random:"),
        warnings=_warn(manifest, found),
    )


def _tell(manifest: Manifest) -> str:
    """Say in one line what ran: network, size, features, components."""
    looks = _tell_network(manifest)
    k = manifest.number("reduction", "n_components")
    if k is None:
        return f"{looks}." if looks else ""
    scaled = "standardised " if manifest.section("reduction").get("standardize") is True else ""
    if looks:
        return f"{looks}; PCA condensed these {scaled}features into {_say_components(k)}."
    n_features = manifest.number("reduction", "n_features")
    features = f"{say_count(n_features)} {scaled}features" if n_features else f"{scaled}features"
    return f"PCA condensed {features} into {_say_components(k)}."


def _tell_network(manifest: Manifest) -> str:
    network = manifest.section("network")
    if not network:
        return ""
    n_features = manifest.number("network", "n_features")
    size = network.get("size_px")
    width, height = size if isinstance(size, list) and len(size) == 2 else (size, size)
    looks = f"{manifest.text('network', 'model') or 'A network'} looked at every photo"
    looks += f" at {width} \u00d7 {height} pixels" if size else ""
    return f"{looks} and described it in {say_count(n_features) + ' ' if n_features else ''}numbers"


def _say_components(k: float) -> str:
    return f"{say_count(k)} component{'' if k == 1 else 's'}"


def _lay_tiles(manifest: Manifest, found: Found) -> list[Tile]:
    tiles = _lay_photo_tiles(manifest, found)
    unlabelled = f"{say_count(found.n_unlabelled)} photos have none" if found.n_unlabelled else ""
    tiles.append(Tile(say_count(found.n_labels), "labels" if found.n_labels != 1 else "label", unlabelled))
    return tiles + _lay_reduction_tiles(manifest) + _lay_speed_tiles(manifest)


def _lay_photo_tiles(manifest: Manifest, found: Found) -> list[Tile]:
    if found.n_rejected is None:
        return [Tile(say_count(found.n_photos), "photos")]
    n_listed = manifest.number("counts", "listed") or found.n_photos + found.n_rejected
    n_features = manifest.number("network", "n_features")
    each = f"{say_count(n_features)} features each" if n_features else ""
    share = f"{say_share(found.n_rejected / n_listed)} of the photos" if found.n_rejected else ""
    return [
        Tile(say_count(n_listed), "photos in"),
        Tile(say_count(found.n_photos), "featurized", each),
        Tile(say_count(found.n_rejected), "rejected", share or "all could be read"),
    ]


def _lay_reduction_tiles(manifest: Manifest) -> list[Tile]:
    k = manifest.number("reduction", "n_components")
    kept = manifest.number("reduction", "explained_variance_ratio")
    criterion = manifest.text("reduction", "criterion")
    tiles = []
    if k is not None:
        asked = f"asked: {say_criterion(criterion)}" if criterion else ""
        tiles.append(Tile(say_count(k), "components" if k != 1 else "component", asked))
    if kept is not None:
        tiles.append(Tile(say_share(kept), "variance kept"))
    return tiles


def _lay_speed_tiles(manifest: Manifest) -> list[Tile]:
    rate, total_s = manifest.number("photos_per_s"), manifest.number("timings_s", "total")
    tiles = []
    if rate is not None:
        tiles.append(Tile(say_rate(rate), "photos a second", "while featurizing"))
    if total_s is not None:
        tiles.append(Tile(say_duration(total_s), "total time"))
    return tiles


def _warn(manifest: Manifest, found: Found) -> list[str]:
    """Every photo listed must be a feature or a rejection: say so where one is missing."""
    listed = manifest.number("counts", "listed")
    if listed is None or found.n_rejected is None or listed == found.n_photos + found.n_rejected:
        return []
    return [
        f"{say_count(listed)} photos went in, but {say_count(found.n_photos + found.n_rejected)} came out "
        f"({say_count(found.n_photos)} featurized, {say_count(found.n_rejected)} rejected): "
        "this result is incomplete or was changed."
    ]
