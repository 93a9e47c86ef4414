"""GET /: the page for phones, and its files."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.responses import FileResponse

_STATIC = Path(__file__).parents[1] / "static"
_REVALIDATE = {"Cache-Control": "no-cache"}

router = APIRouter(include_in_schema=False)


@router.head("/")
@router.get("/")
def show_page() -> FileResponse:
    """Return the page."""
    return FileResponse(_STATIC / "index.html", headers=_REVALIDATE)


@router.get("/sw.js")
def load_service_worker() -> FileResponse:
    """Return the service worker, which must lie at the root to serve the whole page."""
    return FileResponse(_STATIC / "sw.js", media_type="text/javascript", headers=_REVALIDATE)


@router.get("/manifest.webmanifest")
def describe_app() -> FileResponse:
    """Return the manifest, with which phones install the page."""
    return FileResponse(_STATIC / "manifest.webmanifest", media_type="application/manifest+json")


def add_static_files(app: FastAPI) -> None:
    """Serve the other files of the page at /static."""
    app.mount("/static", StaticFiles(directory=_STATIC, check_dir=False))
