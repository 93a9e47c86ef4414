"""The "Details" section of the report: the whole manifest as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from verger.storage.manifest import Manifest

# The page shows sections in this order. Sections that are not named here follow in the order of the manifest.
_TITLES: dict[str, str] = {
    "settings": "Settings",
    "network": "Network",
    "reduction": "Reduction",
    "counts": "Counts",
    "timings_s": "Timings (seconds)",
    "versions": "Versions",
    "parity": "Parity with the reference",
}


@dataclass(frozen=True)
class Section:
    """A titled table of (key, value) pairs."""

    title: str
    rows: list[tuple[str, str]]


def list_details(manifest: Manifest) -> list[Section]:
    """Return the sections of the manifest that are not empty; single values come first."""
    single = {key: value for key, value in manifest.facts.items() if not isinstance(value, Mapping)}
    groups = {key: value for key, value in manifest.facts.items() if isinstance(value, Mapping)}
    order = [key for key in _TITLES if key in groups] + [key for key in groups if key not in _TITLES]
    sections = [Section("This result", list(_flatten(single)))]
    sections += [Section(_TITLES.get(key, key), list(_flatten(groups[key]))) for key in order]
    return [section for section in sections if section.rows]


def _flatten(facts: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, _format(value)


def _format(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.8g}"
    if isinstance(value, list):
        return ", ".join(_format(item) for item in value) or "none"
    return str(value)
