"""The small print: everything the manifest says, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from verger.storage.manifest import Manifest

# In this order; sections of a later schema follow as they come.
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
    """Return all sections of the manifest that say anything, single facts first."""
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
            yield prefix + key, _say(value)


def _say(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.8g}"
    if isinstance(value, list):
        return ", ".join(_say(item) for item in value) or "none"
    return str(value)
