"""Metrics for Prometheus, also of several server processes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

# The folder in which server processes share their metrics; prometheus_client reads this variable when imported.
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
MEDIA_TYPE = CONTENT_TYPE_LATEST

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

STAGE_SECONDS = Histogram("verger_stage_seconds", "Time of a photo in each stage", ["stage"], buckets=_BUCKETS)
REQUEST_SECONDS = Histogram(
    "verger_request_seconds", "Time of a request", ["method", "route", "status"], buckets=_BUCKETS
)
QUEUED_PHOTOS = Gauge("verger_queued_photos", "Photos that wait or are being computed", multiprocess_mode="livesum")
DECISIONS = Counter("verger_decisions", "Answers by decision", ["decision"])
UNDECODABLE = Counter("verger_undecodable_photos", "Photos that could not be decoded, by reason", ["reason"])
SHED = Counter("verger_shed_requests", "Requests refused because of too much work or a rate limit", ["cause"])


@contextmanager
def observe_stage(stage: str) -> Iterator[None]:
    """Measure the time of a block as a stage of a photo: decode, inference."""
    start = time.perf_counter()
    try:
        yield
    finally:
        STAGE_SECONDS.labels(stage).observe(time.perf_counter() - start)


def render() -> bytes:
    """Return the metrics of all server processes in Prometheus' text format."""
    if SHARED_FOLDER not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
