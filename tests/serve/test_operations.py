from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.serve.test_identify import files, service_of
from tests.support.service import OWNER
from verger.database.api_keys import create_key, list_keys, revoke_key
from verger.database.tables import models
from verger.errors import DatabaseError, SettingsError
from verger.serve.app import create_app
from verger.serve.logs import JsonFormatter
from verger.serve.problems import ProblemError
from verger.serve.rate_limits import RateLimits
from verger.serve.settings import ServeSettings, load_serve_settings


def test_health_does_not_need_the_database(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/readyz").json()["status"] == "ready"

    def fail() -> None:
        raise DatabaseError("the database is away")

    monkeypatch.setattr(service_of(client).database, "check", fail)
    assert client.get("/healthz").status_code == 200
    down = client.get("/readyz")
    assert (down.status_code, down.json()["detail"]) == (503, "the database cannot be used")
    assert [client.head(path).status_code for path in ("/", "/healthz")] == [200, 200]


def test_the_database_has_the_model_that_answers(client: TestClient, banana: bytes) -> None:
    versions = client.post("/v1/identify", files=files(banana)).json()["versions"]
    with service_of(client).database.reading() as connection:
        (row,) = connection.execute(models.select()).mappings()
    assert versions["model"] == f"{row['name']}-{row['weights_sha256'][:8]}"
    assert versions["classifier"] == row["classifier_sha256"][:8]


def test_metrics_count_decisions_stages_and_undecodable_photos(client: TestClient, banana: bytes) -> None:
    def value(name: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    names = (
        'verger_decisions_total{decision="sure"}',
        'verger_stage_seconds_count{stage="inference"}',
        'verger_undecodable_photos_total{reason="empty"}',
    )
    before = [value(name) for name in names]
    client.post("/v1/identify", files=files(banana))
    client.post("/v1/identify", files=files(b""))
    assert [value(name) for name in names] == [number + 1 for number in before]
    assert value("verger_queued_photos") == 0


def test_answers_have_security_headers(client: TestClient) -> None:
    for path in ("/healthz", "/v1/fruits", "/no-such-page", "/v1/observations"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"], path
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_other_sites_need_permission(client: TestClient, settings: ServeSettings) -> None:
    allowed = settings.model_copy(update={"cors_origins": ("https://orchard.example",)})
    client = TestClient(create_app(replace(service_of(client), settings=allowed)))

    def origin_of(origin: str) -> str | None:
        return client.get("/healthz", headers={"Origin": origin}).headers.get("access-control-allow-origin")

    assert origin_of("https://orchard.example") == "https://orchard.example"
    assert origin_of("https://elsewhere.example") is None


def test_rates_are_limited_for_each_address() -> None:
    limits = RateLimits("2/minute", "3/minute")
    assert limits.check("192.0.2.1", None)["RateLimit"].startswith('"photos";r=1;t=')
    limits.check("192.0.2.1", None)
    with pytest.raises(ProblemError) as refused:
        limits.check("192.0.2.1", None)
    assert refused.value.status == 429
    assert 1 <= int((refused.value.headers or {})["Retry-After"]) <= 60
    limits.check("192.0.2.2", None)
    for _ in range(3):
        limits.check("192.0.2.1", "an app")


def test_each_photo_counts() -> None:
    limits = RateLimits("4/minute", "4/minute")
    assert limits.check("192.0.2.1", None, 3)["RateLimit"].startswith('"photos";r=1;t=')
    with pytest.raises(ProblemError):
        limits.check("192.0.2.1", None, 3)


def test_ipv4_users_of_an_ipv6_socket_are_counted_one_by_one() -> None:
    limits = RateLimits("1/minute", "1/minute")
    limits.check("::ffff:192.0.2.1", None)
    limits.check("::ffff:192.0.2.2", None)
    with pytest.raises(ProblemError):
        limits.check("::ffff:192.0.2.1", None)


def test_an_ipv6_user_cannot_change_the_address_to_get_more() -> None:
    limits = RateLimits("1/minute", "1/minute")
    limits.check("2001:db8::1", None)
    with pytest.raises(ProblemError):
        limits.check("2001:db8::2", None)
    limits.check("2001:db8:1::1", None)


def test_api_keys_are_checked(client: TestClient, banana: bytes) -> None:
    database = service_of(client).database
    key = create_key(database, "orchard app")

    def status(value: str) -> int:
        return client.post("/v1/identify", files=files(banana), headers={"X-API-Key": value}).status_code

    assert (status(key), status(key + "x"), status("")) == (200, 401, 401)
    revoke_key(database, list_keys(database)[0].id)
    assert status(key) == 401


def test_logs_hold_no_photo_key_or_address(
    client: TestClient, banana: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "verger"):
        client.post("/v1/identify", files=files(banana), headers={"X-API-Key": "verger_secret"})
        client.get("/v1/observations/00000000-0000-4000-8000-000000000000", headers=OWNER)
    lines = [JsonFormatter().format(record) for record in caplog.records if record.name.startswith("verger")]
    first, second = (json.loads(line) for line in lines[-2:])
    assert (first["route"], first["status"]) == ("/v1/identify", 401)
    assert second["route"] == "/v1/observations/{observation_id}"
    for secret in ("verger_secret", "oooo", "testclient", "00000000-0000"):
        assert secret not in "".join(lines)


def test_secrets_are_read_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "verger_database_url").write_text("postgresql://verger:secret@db/verger\n")
    monkeypatch.setenv("VERGER_SECRETS", str(tmp_path))
    assert load_serve_settings().database_url == "postgresql://verger:secret@db/verger"
    monkeypatch.setenv("VERGER_DATABASE_URL", "sqlite:///here.db")
    assert load_serve_settings().database_url == "sqlite:///here.db"


def test_the_openapi_document_describes_every_route(client: TestClient) -> None:
    document: dict[str, Any] = client.get("/openapi.json").json()
    assert {"/v1/identify", "/v1/fruits/{fruit_id}", "/v1/observations/{observation_id}/feedback"} <= set(
        document["paths"]
    )
    body = document["paths"]["/v1/identify"]["post"]["requestBody"]["content"]
    assert set(body) == {"multipart/form-data", "application/json", "image/*"}


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [("port", "70000", "65535"), ("rate", "often", "60/minute"), ("certificate", "a.pem", "HTTPS needs")],
)
def test_wrong_settings_are_explained(key: str, value: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        load_serve_settings(**{key: value})


def test_settings_come_from_variables_and_a_table_of_verger_toml(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "verger.toml").write_text('model = "VGG16"\n[serve]\nport = 9000\nretention_days = 7\n')
    monkeypatch.setenv("VERGER_RETENTION_DAYS", "30")
    settings = load_serve_settings(photos="kept")
    assert (settings.port, settings.retention_days, settings.photos) == (9000, 30, "kept")
    monkeypatch.setenv("VERGER_PORT", "tcp://10.0.0.7:8000")  # Kubernetes
    assert load_serve_settings().port == 8000
    (tmp_path / "verger.toml").write_text("[serve]\nprot = 9000\n")
    with pytest.raises(SettingsError, match="did you mean port"):
        load_serve_settings()
