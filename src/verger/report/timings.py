"""The picture of the time: what each stage took."""

from __future__ import annotations

from dataclasses import dataclass

from verger.report.wording import say_duration, say_rate, say_share
from verger.storage.manifest import Manifest

WHAT_STAGES_DO: dict[str, str] = {
    "start": "start Java and Spark",
    "list": "find the photos",
    "convert": "make the network ready",
    "featurize": "read, decode and look at the photos",
    "reduce": "find the principal components",
    "export": "write CSV and JSON",
    "report": "draw this page",
}
_N_COLOURS = 7
_OTHER = "other"


@dataclass(frozen=True)
class Stage:
    """One stage: its time in words, its share of the bar in percent, and the style of its colour."""

    name: str
    what: str
    time: str
    share: str
    bar_percent: float
    colour: str


@dataclass(frozen=True)
class Timings:
    """Stages in the order they ran; `rate` is photos a second in words, None where unknown."""

    total: str
    rate: str | None
    stages: list[Stage]


def read_timings(manifest: Manifest) -> Timings | None:
    """Return what `timings_s` says, None where it says nothing; what no stage counts is called other."""
    known_s = {name: max(0.0, time_s) for name, time_s in manifest.timings_s.items()}
    total_s = known_s.pop("total", None)
    summed_s = sum(known_s.values())
    if total_s is None:
        total_s = summed_s
    elif known_s and total_s - summed_s > 0.005 * total_s:
        known_s.setdefault(_OTHER, total_s - summed_s)
    whole_s = max(sum(known_s.values()), total_s)
    if not whole_s:
        return None
    stages = [
        Stage(
            name=name,
            what=WHAT_STAGES_DO.get(name, "between the stages" if name == _OTHER else ""),
            time=say_duration(time_s),
            share=say_share(time_s / whole_s),
            bar_percent=100 * time_s / whole_s,
            colour="c-other" if name == _OTHER else f"c{i % _N_COLOURS}",
        )
        for i, (name, time_s) in enumerate(known_s.items())
    ]
    rate = manifest.number("photos_per_s")
    return Timings(say_duration(total_s), None if rate is None else say_rate(rate), stages)
