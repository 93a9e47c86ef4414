"""Check of the extra `serve`, which contains the libraries of the service and its database."""

from __future__ import annotations

from importlib.util import find_spec

from verger.errors import SetupError

_MODULES = {
    "alembic": "alembic",
    "fastapi": "FastAPI",
    "limits": "limits",
    "prometheus_client": "prometheus-client",
    "psycopg": "psycopg",
    "python_multipart": "python-multipart",
    "sqlalchemy": "SQLAlchemy",
    "uvicorn": "uvicorn",
}


def check_serve_extra() -> None:
    """Raise SetupError if a library of the extra `serve` is not installed; call it before importing them."""
    missing = [name for module, name in _MODULES.items() if find_spec(module) is None]
    if missing:
        raise SetupError(f"the service needs {', '.join(missing)}: pip install 'verger[serve]'")
