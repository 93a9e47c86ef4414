"""Photos that clients send straight to a bucket, on an S3 server that enforces the policies of presigned forms."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from tests.serve.test_identify import files
from tests.support.s3_environment import BUCKET
from tests.support.seaweedfs import Server, serving
from tests.support.service import OTHER_OWNER, OWNER
from verger.serve.app import create_app, open_service
from verger.serve.purge import purge_expired
from verger.serve.settings import ServeSettings
from verger.storage.objects.stores import store_of


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("seaweedfs")) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        store_of.cache_clear()  # one of this bucket may know an earlier server
        yield server
        store_of.cache_clear()


@pytest.fixture(scope="module")
def settings_of_bucket(bucket: Server, tmp_path_factory: pytest.TempPathFactory) -> ServeSettings:
    return ServeSettings(
        classifier="fruitnet",
        database_url=f"sqlite:///{tmp_path_factory.mktemp('service')}/verger.db",
        photos=f"s3://{BUCKET}/photos",
        deadline_s=60,
        max_photo_mb=0.2,
        rate="100000/minute",
    )


@pytest.fixture(scope="module")
def app(settings_of_bucket: ServeSettings) -> Iterator[TestClient]:
    with TestClient(create_app(open_service(settings_of_bucket)), raise_server_exceptions=False) as client:
        yield client


def new_form(app: TestClient, content_type: str = "image/jpeg") -> dict[str, Any]:
    response = app.post("/v1/uploads", json={"content_type": content_type})
    assert response.status_code == 201, response.text
    form: dict[str, Any] = response.json()
    return form


def send(form: dict[str, Any], photo: bytes, **changed: str) -> httpx2.Response:
    return httpx2.post(form["url"], data=form["fields"] | changed, files={"file": ("photo", photo)}, timeout=60)


def upload(app: TestClient, photo: bytes) -> str:
    form = new_form(app)
    assert send(form, photo).status_code == 204
    return str(form["id"])


def test_an_uploaded_photo_gets_the_same_answer_and_is_deleted(
    app: TestClient, bucket: Server, banana: bytes, lemon: bytes
) -> None:
    uploads = [upload(app, banana), upload(app, lemon)]
    answer = app.post("/v1/identify", json={"uploads": uploads})
    assert answer.status_code == 200, answer.text
    assert answer.json() == app.post("/v1/identify", files=files(banana, lemon)).json()
    assert not any(one in name for name in bucket.keys() for one in uploads)  # noqa: SIM118


@pytest.mark.parametrize(
    "changed", [{"Content-Type": "text/html"}, {"key": "photos/other"}, {"x-amz-signature": "0" * 64}]
)
def test_the_bucket_refuses_what_the_form_does_not_allow(
    app: TestClient, bucket: Server, banana: bytes, changed: dict[str, str]
) -> None:
    before = bucket.keys()
    assert send(new_form(app), banana, **changed).status_code == 403
    assert bucket.keys() == before


def test_the_bucket_refuses_files_that_are_too_large_or_empty(app: TestClient, bucket: Server) -> None:
    before, form = bucket.keys(), new_form(app)
    assert form["max_bytes"] == 200_000
    assert send(form, b"\xff" * 200_001).status_code == 400
    assert send(form, b"").status_code == 400
    assert bucket.keys() == before
    assert send(form, b"\xff" * 200_000).status_code == 204


def test_the_service_checks_size_and_content_again(app: TestClient, bucket: Server, banana: bytes) -> None:
    """Someone with access to the bucket may have replaced the upload."""
    large, text, unknown = upload(app, banana), upload(app, b"<html>no photo</html>"), str(uuid.uuid4())
    bucket.client.put_object(Bucket=BUCKET, Key=f"photos/uploads/{large}", Body=b"\xff" * 300_000)
    answers = [app.post("/v1/identify", json={"uploads": [one]}) for one in (large, text, unknown)]
    assert [(answer.status_code, answer.json()["reason"]) for answer in answers] == [
        (413, "too-large"),
        (422, "not-an-image"),
        (422, "unknown-upload"),
    ]
    escaped = app.post("/v1/identify", json={"uploads": ["../photos"]})
    assert (escaped.status_code, escaped.json()["reason"]) == (422, "invalid-request")


def test_an_observation_of_an_upload_is_kept_once(app: TestClient, bucket: Server, banana: bytes) -> None:
    upload_id, key = upload(app, banana), {"Idempotency-Key": str(uuid.uuid4())}
    body = {"uploads": [upload_id], "consent": True, "keep_metadata": True}
    assert app.post("/v1/observations", json=body | {"consent": False}, headers=OWNER).status_code == 422
    made = app.post("/v1/observations", json=body, headers=OWNER | key)
    assert made.status_code == 201, made.text
    assert not any(upload_id in name for name in bucket.keys())  # noqa: SIM118
    repeated = app.post("/v1/observations", json=body, headers=OWNER | key)  # the upload no longer exists
    assert (repeated.status_code, repeated.json()["id"]) == (200, made.json()["id"])
    assert bucket.read(f"photos/{made.json()['id']}/0") == banana
    assert app.post("/v1/observations", json=body, headers=OWNER).status_code == 422


def test_a_link_reads_a_kept_photo_without_a_key(app: TestClient, bucket: Server, banana: bytes) -> None:
    data = {"consent": "true", "keep_metadata": "true"}
    made = app.post("/v1/observations", files=files(banana), data=data, headers=OWNER).json()
    link = made["photos"][0]["link"]
    assert httpx2.get(link).content == banana
    assert httpx2.get(link.partition("?")[0]).status_code == 403
    assert app.get(made["photos"][0]["url"], headers=OWNER).content == banana
    assert app.get(made["photos"][0]["url"], headers=OTHER_OWNER).status_code == 404
    assert app.delete(f"/v1/observations/{made['id']}", headers=OWNER).status_code == 204
    assert httpx2.get(link).status_code == 404
    assert not any(made["id"] in name for name in bucket.keys())  # noqa: SIM118


def test_uploads_that_nobody_uses_are_purged(
    app: TestClient, bucket: Server, settings_of_bucket: ServeSettings, banana: bytes
) -> None:
    upload_id, now = upload(app, banana), datetime.now(UTC)
    purge_expired(settings_of_bucket, now)
    assert f"photos/uploads/{upload_id}" in bucket.keys()  # noqa: SIM118
    used = new_form(app)
    assert send(used, banana).status_code == 204
    assert app.post("/v1/identify", json={"uploads": [used["id"]]}).status_code == 200
    assert send(used, banana).status_code == 204  # the form is still valid
    purge_expired(settings_of_bucket, now + timedelta(hours=2))
    assert not any("uploads" in name for name in bucket.keys())  # noqa: SIM118


def test_a_bucket_that_is_away_is_a_503(app: TestClient, banana: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    from verger.errors import StorageError
    from verger.storage.objects.path import ObjectPath

    def fail(*_: object) -> None:
        raise StorageError("s3a://orchard: the bucket does not answer")

    monkeypatch.setattr(ObjectPath, "write_bytes", fail)
    response = app.post("/v1/observations", files=files(banana), data={"consent": "true"}, headers=OWNER)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert "orchard" not in response.text


def test_a_service_with_a_folder_says_how_to_send_photos(client: TestClient) -> None:
    refused = client.post("/v1/uploads", json={})
    assert (refused.status_code, "/v1/identify" in refused.json()["detail"]) == (409, True)
    unknown = client.post("/v1/identify", json={"uploads": [str(uuid.uuid4())]})
    assert (unknown.status_code, unknown.json()["reason"]) == (422, "unknown-upload")


def test_only_images_can_be_announced(app: TestClient) -> None:
    refused = app.post("/v1/uploads", json={"content_type": "text/html"})
    assert (refused.status_code, refused.json()["reason"]) == (422, "invalid-request")
