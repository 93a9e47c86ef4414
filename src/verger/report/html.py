"""Write report.html: a single file that works offline and makes no requests.

Labels and paths are untrusted text: Jinja escapes them in HTML, `_as_json` escapes them in the data, and scripts
insert them only as text. A Content-Security-Policy allows only the scripts of this package and of plotly.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from verger.errors import ResultError
from verger.report.wording import format_bytes, format_count, format_duration, format_share
from verger.storage.atomic import write_atomically
from verger.storage.uri import AnyPath

FILE_NAME = "report.html"


def render_page(name: str, data: object, *, with_plots: bool, **shown: object) -> str:
    """Render `name`.html.j2 as a page that contains page.css, `name`.js, and `data`, which the script draws."""
    scripts = {"report_js": _inline(_read(f"{name}.js"))}
    if with_plots:
        scripts["plotly_js"] = _inline(_read_plotly())
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "count": format_count,
        "share": format_share,
        "bytes": format_bytes,
        "duration": format_duration,
    }
    return environment.from_string(_read(f"{name}.html.j2")).render(
        style=Markup(_read("page.css")),
        data=_as_json(data),
        script_hashes=" ".join(_hash_source(script) for script in scripts.values()),
        **{"plotly_js": None, **scripts},
        **shown,
    )


def write_page(html: str, result: AnyPath) -> AnyPath:
    """Write `result/report.html` in one step and return its path; raises ResultError."""
    # Bytes in a path that are not UTF-8 become question marks.
    page = html.encode("utf-8", errors="replace")
    path = result / FILE_NAME
    try:
        if isinstance(path, Path):
            with write_atomically(path) as temporary:
                temporary.write_bytes(page)
        else:
            path.write_bytes(page)
    except OSError as error:
        raise ResultError(f"{path} cannot be written: {error}") from error
    return path


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _read_plotly() -> str:
    """Return plotly.js from the package plotly. The package is not imported, because that is slow."""
    package = find_spec("plotly")
    assert package is not None
    assert package.origin is not None
    return (Path(package.origin).parent / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def _inline(script: str) -> Markup:
    """Escape a script so that the string literals in it cannot end the script element."""
    return Markup(script.replace("</script", "<\\/script").replace("<!--", "<\\!--"))


def _hash_source(script: str) -> str:
    """Return the Content-Security-Policy source that allows only this script."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _as_json(data: object) -> Markup:
    """Return JSON that is safe inside a <script> element."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
