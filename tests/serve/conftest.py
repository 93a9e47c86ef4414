"""The application in this process, with a fast network, and photos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from verger.sample import SampleOptions, render_sample
from verger.serve.app import create_app, open_service
from verger.serve.settings import ServeSettings


@pytest.fixture(scope="session")
def renders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("renders")
    render_sample(folder, SampleOptions(per_kind=2, seed=5))
    return folder


@pytest.fixture(scope="session")
def banana(renders: Path) -> bytes:
    return (renders / "Banana" / "0_100.jpg").read_bytes()


@pytest.fixture(scope="session")
def lemon(renders: Path) -> bytes:
    return (renders / "Lemon" / "0_100.jpg").read_bytes()


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> ServeSettings:
    folder = tmp_path_factory.mktemp("service")
    return ServeSettings(
        classifier="fruitnet",
        database_url=f"sqlite:///{folder}/verger.db",
        photos=str(folder / "photos"),
        deadline_s=60,
        rate="100000/minute",
        max_photo_mb=2,
    )


@pytest.fixture(scope="session")
def client(settings: ServeSettings) -> Iterator[TestClient]:
    with TestClient(create_app(open_service(settings)), raise_server_exceptions=False) as client:
        yield client
