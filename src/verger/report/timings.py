"""The "Time per stage" section of the report."""

from __future__ import annotations

from dataclasses import dataclass

from verger.report.wording import format_duration, format_rate, format_share
from verger.storage.manifest import Manifest

WHAT_STAGES_DO: dict[str, str] = {
    "start": "start Java and Spark",
    "list": "find the photos",
    "convert": "convert the network, or load it from the cache",
    "recall": "compare the photos with earlier runs",
    "featurize": "read and decode the photos, compute features",
    "check": "compute the features of a few photos again, and compare",
    "reduce": "compute the principal components",
    "export": "write CSV and JSON",
    "report": "write this page",
}
_N_COLOURS = 7
_OTHER = "other"


@dataclass(frozen=True)
class StageTime:
    """A stage of the run: formatted time and share; width in percent and colour (CSS class) of its bar."""

    name: str
    what: str
    time: str
    share: str
    bar_percent: float
    colour: str


@dataclass(frozen=True)
class Timings:
    """The stages in the order in which they ran. rate: the formatted photos per second; None if unknown."""

    total: str
    rate: str | None
    stages: list[StageTime]


def read_timings(manifest: Manifest) -> Timings | None:
    """Return the timings of a manifest; None if it has no timings. Time outside the stages is named "other"."""
    stages_s = {name: max(0.0, time_s) for name, time_s in manifest.timings_s.items()}
    total_s = stages_s.pop("total", None)
    summed_s = sum(stages_s.values())
    if total_s is None:
        total_s = summed_s
    elif stages_s and total_s - summed_s > 0.005 * total_s:
        stages_s.setdefault(_OTHER, total_s - summed_s)
    whole_s = max(sum(stages_s.values()), total_s)
    if not whole_s:
        return None
    stages = [
        StageTime(
            name=name,
            what=WHAT_STAGES_DO.get(name, "between the stages" if name == _OTHER else ""),
            time=format_duration(time_s),
            share=format_share(time_s / whole_s),
            bar_percent=100 * time_s / whole_s,
            colour="c-other" if name == _OTHER else f"c{i % _N_COLOURS}",
        )
        for i, (name, time_s) in enumerate(stages_s.items())
    ]
    rate = manifest.number("photos_per_s")
    return Timings(format_duration(total_s), None if rate is None else format_rate(rate), stages)
