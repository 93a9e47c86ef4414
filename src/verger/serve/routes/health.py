"""GET /healthz, /readyz and /metrics: for load balancers and Prometheus."""

from __future__ import annotations

import logging

from fastapi import APIRouter, Response

from verger.errors import VergerError
from verger.serve import metrics
from verger.serve.problems import ProblemError, problem_responses
from verger.serve.state import CurrentService

router = APIRouter(tags=["operations"])
_log = logging.getLogger(__name__)


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def is_alive() -> dict[str, str]:
    """Say that the process answers; nothing else is checked."""
    return {"status": "ok"}


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses=problem_responses({503: "the database cannot be used"}))
def is_ready(service: CurrentService) -> dict[str, str]:
    """Say that requests can be answered: the model is compiled and the database is reachable."""
    try:
        service.database.check()
    except VergerError as error:
        _log.error("%s", error)
        raise ProblemError(503, "the database cannot be used", headers={"Retry-After": "5"}) from error
    return {"status": "ready", "model": service.recognizer.model_version}


@router.get("/metrics", response_class=Response)
def show_metrics() -> Response:
    """Return the metrics in Prometheus' text format."""
    return Response(metrics.render(), media_type=metrics.MEDIA_TYPE)
