"""Write report.html: one file that opens offline, without a single request.

The pictures come from the modules beside this one; `page.html.j2` arranges them. Labels and paths are other
people's text: Jinja escapes it in HTML, JSON escapes it in the data, the scripts only ever set it as text,
and a Content-Security-Policy forbids everything but the three scripts written here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from verger.errors import ResultError
from verger.report.artefacts import read_manifest, read_spectrum
from verger.report.details import Section, list_details
from verger.report.header import Found, Header, head_page
from verger.report.labels import LabelCounts, count_labels
from verger.report.rejections import Rejections, count_rejections
from verger.report.scatter import MAX_POINTS, Scatter, draw_scatter
from verger.report.scree import Scree, draw_scree
from verger.report.timings import Timings, read_timings
from verger.report.wording import say_count

FILE_NAME = "report.html"

_TABLES = ("features", "rejected", "components")


@dataclass(frozen=True)
class Page:
    """All pictures of the page, in the order they are shown; None where the result lacks one."""

    header: Header
    scatter: Scatter | None
    scree: Scree | None
    labels: LabelCounts
    rejections: Rejections | None
    timings: Timings | None
    details: list[Section]
    made_by: str


def write_report(result: Path, *, title: str | None = None, max_points: int = MAX_POINTS) -> Path:
    """Write `result/report.html` and return its path; the map shows at most `max_points` photos.

    The title is the folder's name unless given: a result still in its staging folder has another one.
    Raises ResultError where `result` is not a finished verger result.
    """
    html = render(read_page(result, title=title, max_points=max_points))
    path = result / FILE_NAME
    beside = result / f".{FILE_NAME}.{os.getpid()}"
    try:
        # A path can hold what UTF-8 cannot: better a question mark than no page.
        beside.write_text(html, encoding="utf-8", errors="replace", newline="\n")
        beside.replace(path)
    except OSError as error:
        raise ResultError(f"{path} cannot be written: {error}") from error
    finally:
        beside.unlink(missing_ok=True)
    return path


def read_page(result: Path, *, title: str | None = None, max_points: int = MAX_POINTS) -> Page:
    """Read the finished `result` into the pictures of its page."""
    manifest = read_manifest(result)
    if not any((result / name).is_dir() for name in _TABLES):
        raise ResultError(f"{result} is not a finished verger result: it has none of {', '.join(_TABLES)}")
    spectrum = read_spectrum(result)
    labels, rejections = count_labels(result), count_rejections(result)
    n_rejected = None if rejections is None else rejections.n_photos
    found = Found(labels.n_photos, n_rejected, labels.n_labels, labels.n_unlabelled)
    return Page(
        header=head_page(title or result.resolve().name, manifest, found),
        scatter=draw_scatter(result, spectrum, max_points=max_points),
        scree=None if spectrum is None else draw_scree(spectrum, manifest),
        labels=labels,
        rejections=rejections,
        timings=read_timings(manifest),
        details=list_details(manifest),
        made_by=" ".join(filter(None, ("verger", manifest.text("verger")))),
    )


def render(page: Page) -> str:
    """Return the page as HTML, with its styles, scripts and data inside."""
    scripts = {"report_js": _inline(_read("page.js"))}
    if page.scatter or page.scree:
        scripts["plotly_js"] = _inline(get_plotlyjs())
    data = {
        "scatter": page.scatter.points if page.scatter else None,
        "scree": page.scree.curve if page.scree else None,
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["count"] = say_count
    return environment.from_string(_read("page.html.j2")).render(
        page=page,
        style=Markup(_read("page.css")),
        data=_as_json(data),
        script_hashes=" ".join(_hash_source(script) for script in scripts.values()),
        **{"plotly_js": None, **scripts},
    )


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _inline(script: str) -> Markup:
    """Mark a script of ours as fit to stand between script tags, whatever its string literals say."""
    return Markup(script.replace("</script", "<\\/script").replace("<!--", "<\\!--"))


def _hash_source(script: str) -> str:
    """Return the Content-Security-Policy source that allows this script and no other."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _as_json(data: object) -> Markup:
    """Return JSON in which no text can end the script element it stands in."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
