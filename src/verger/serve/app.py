"""The application: it builds the parts of the service and joins the routes and the middleware."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from verger.database.model_versions import record_model
from verger.serve.body_limit import BodyLimit
from verger.serve.data import open_migrated
from verger.serve.fact_rows import load_facts
from verger.serve.fruits import Fruits
from verger.serve.logs import AccessLog
from verger.serve.photo_store import PhotoStore
from verger.serve.problems import add_problem_handlers, problem_responses
from verger.serve.rate_limits import RateLimits
from verger.serve.recognizer import Recognizer
from verger.serve.routes import fruits, health, identify, observations, page, uploads
from verger.serve.security import SecurityHeaders
from verger.serve.settings import ServeSettings
from verger.serve.state import Service

# The file with the settings of the server processes, as JSON; the command line sets this variable for them.
SETTINGS_VARIABLE = "VERGER_SERVE_SETTINGS"


def create_app(service: Service) -> FastAPI:
    """Return the application of an open service; when the application ends, it closes the service."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            service.recognizer.close()
            service.database.close()

    settings = service.settings
    app = FastAPI(
        title="Verger",
        summary="Name the fruit in photos, and read about it.",
        version=version("verger"),
        lifespan=lifespan,
        docs_url=None,  # this page would load scripts from another site
        redoc_url=None,
        responses=problem_responses({422: None}),
    )
    app.state.service = service
    add_problem_handlers(app)
    for module in (identify, uploads, observations, fruits, health, page):
        app.include_router(module.router)
    page.add_static_files(app)
    # The last middleware is the outermost one.
    app.add_middleware(BodyLimit, max_photo_bytes=settings.max_photo_bytes)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-API-Key"],
            expose_headers=["Location", "RateLimit", "RateLimit-Policy", "Retry-After"],
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(AccessLog)
    return app


def create_app_from_environment() -> FastAPI:
    """Return the application for the settings in SETTINGS_VARIABLE: what a server process of uvicorn calls."""
    content = Path(os.environ[SETTINGS_VARIABLE]).read_text("utf-8")
    return create_app(open_service(ServeSettings.model_validate_json(content)))


def open_service(settings: ServeSettings) -> Service:
    """Open the database, migrated and with the current facts, and load the model.

    Raises SettingsError, DatabaseError, ClassifierError or WeightsError.
    """
    database = open_migrated(settings)
    load_facts(database)
    recognizer = Recognizer(settings)
    record_model(database, *recognizer.version)
    return Service(
        settings,
        database,
        Fruits(database),
        PhotoStore(settings.photos),
        recognizer,
        RateLimits(settings.rate, settings.key_rate, settings.processes),
    )
