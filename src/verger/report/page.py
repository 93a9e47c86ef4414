"""The report of a run. Each section comes from a module of this package; `page.html.j2` arranges them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from verger.errors import ResultError
from verger.report.details import Section, list_details
from verger.report.header import Header, PhotoCounts, make_header
from verger.report.html import render_page, write_page
from verger.report.labels import LabelCounts, count_labels
from verger.report.rejections import Rejections, count_rejections
from verger.report.scatter import MAX_POINTS, MakeThumbnails, Scatter, draw_scatter
from verger.report.scree import Scree, draw_scree
from verger.report.spectrum import read_spectrum
from verger.report.timings import Timings, read_timings
from verger.storage.manifest import read_manifest
from verger.storage.uri import AnyPath

_TABLES = ("features", "rejected", "components")


@dataclass(frozen=True)
class RunReport:
    """All sections of the page, in the order shown; a section is None if the result has no data for it."""

    header: Header
    scatter: Scatter | None
    scree: Scree | None
    labels: LabelCounts
    rejections: Rejections | None
    timings: Timings | None
    details: list[Section]
    made_by: str


def write_report(
    result: AnyPath, make_thumbnails: MakeThumbnails, *, title: str | None = None, max_points: int = MAX_POINTS
) -> AnyPath:
    """Write `result/report.html` and return its path; the map shows at most `max_points` photos.

    title: by default the name of the folder. Give a title for a staging folder, because its name is another one.
    Raises ResultError if `result` is not a finished verger result.
    """
    html = render(read_page(result, make_thumbnails, title=title, max_points=max_points))
    return write_page(html, result)


def read_page(
    result: AnyPath, make_thumbnails: MakeThumbnails, *, title: str | None = None, max_points: int = MAX_POINTS
) -> RunReport:
    """Return the sections of the report's page, read from the finished `result`."""
    manifest = read_manifest(result)
    if not any((result / name).is_dir() for name in _TABLES):
        raise ResultError(f"{result} is not a finished verger result: it has none of {', '.join(_TABLES)}")
    spectrum = read_spectrum(result)
    labels, rejections = count_labels(result), count_rejections(result)
    n_rejected = None if rejections is None else rejections.n_photos
    counts = PhotoCounts(labels.n_photos, n_rejected, labels.n_labels, labels.n_unlabelled)
    return RunReport(
        header=make_header(title or _name(result), manifest, counts),
        scatter=draw_scatter(result, spectrum, make_thumbnails, max_points=max_points),
        scree=None if spectrum is None else draw_scree(spectrum, manifest),
        labels=labels,
        rejections=rejections,
        timings=read_timings(manifest),
        details=list_details(manifest),
        made_by=" ".join(filter(None, ("verger", manifest.text("verger")))),
    )


def render(page: RunReport) -> str:
    """Return the page as HTML, with its styles, scripts and data inside."""
    data = {
        "scatter": page.scatter.points if page.scatter else None,
        "scree": page.scree.curve if page.scree else None,
    }
    return render_page("page", data, with_plots=bool(page.scatter or page.scree), page=page)


def _name(result: AnyPath) -> str:
    return result.resolve().name if isinstance(result, Path) else result.name
