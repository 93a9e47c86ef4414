from __future__ import annotations

import hashlib
import io
import sqlite3
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.serve.test_identify import files
from tests.support.service import OTHER_OWNER, OWNER
from verger.errors import StorageError
from verger.privacy.metadata import strip_metadata
from verger.serve.photo_store import PhotoStore
from verger.serve.purge import purge_expired
from verger.serve.settings import ServeSettings

CONSENT = {"consent": "true"}


def add(
    client: TestClient, *photos: bytes, owner: dict[str, str] = OWNER, key: str | None = None
) -> dict[str, Any]:
    headers = owner | ({} if key is None else {"Idempotency-Key": key})
    response = client.post("/v1/observations", files=files(*photos), data=CONSENT, headers=headers)
    assert response.status_code in (200, 201), response.text
    observation: dict[str, Any] = response.json()
    return observation


def kept_files(settings: ServeSettings) -> set[Path]:
    return {file for file in Path(settings.photos).rglob("*") if file.is_file()}


def rows_with(settings: ServeSettings, text: str) -> list[str]:
    """Return the tables of the database in which some value contains a text."""
    database = sqlite3.connect(settings.database_url.removeprefix("sqlite:///"))
    with database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = [
            name for name in tables if any(text in repr(row) for row in database.execute(f'SELECT * FROM "{name}"'))
        ]
    database.close()
    return found


def with_location(photo: bytes) -> bytes:
    image, file = Image.open(io.BytesIO(photo)), io.BytesIO()
    exif = image.getexif()
    exif[0x010F] = "Pomona cameras"
    exif.get_ifd(0x8825)[1] = "N"
    image.save(file, "JPEG", exif=exif)
    return file.getvalue()


def test_an_observation_is_kept_for_its_owner_only(client: TestClient, banana: bytes, lemon: bytes) -> None:
    made = add(client, banana, lemon)
    assert made["identification"]["candidates"]
    where = f"/v1/observations/{made['id']}"
    assert client.get(where, headers=OWNER).json() == made
    assert client.get(where, headers=OTHER_OWNER).status_code == 404
    assert client.get(where).status_code == 401
    photo = client.get(made["photos"][1]["url"], headers=OWNER)
    assert (photo.content, photo.headers["Content-Type"]) == (strip_metadata(lemon), "image/jpeg")
    assert client.get(made["photos"][1]["url"], headers=OTHER_OWNER).status_code == 404
    assert client.get(f"{where}/photos/2", headers=OWNER).status_code == 404
    listed = client.get("/v1/observations", headers=OWNER).json()
    assert made["id"] in [item["id"] for item in listed["items"]]
    assert client.get("/v1/observations", headers=OTHER_OWNER).json()["total"] == 0


@pytest.mark.parametrize("consent", [{}, {"consent": "false"}])
def test_without_consent_nothing_is_kept(
    client: TestClient, settings: ServeSettings, banana: bytes, consent: dict[str, str]
) -> None:
    before = kept_files(settings)
    response = client.post("/v1/observations", files=files(banana), data=consent, headers=OWNER)
    assert (response.status_code, response.json()["reason"]) == (422, "no-consent")
    assert kept_files(settings) == before


def test_place_and_camera_are_removed_unless_the_owner_keeps_them(client: TestClient, banana: bytes) -> None:
    photo = with_location(banana)
    kept = client.get(add(client, photo)["photos"][0]["url"], headers=OWNER).content
    assert not Image.open(io.BytesIO(kept)).getexif()
    assert b"Pomona" not in kept
    fields = CONSENT | {"keep_metadata": "true"}
    made = client.post("/v1/observations", files=files(photo), data=fields, headers=OWNER).json()
    assert client.get(made["photos"][0]["url"], headers=OWNER).content == photo


def test_an_idempotency_key_makes_one_observation(
    client: TestClient, settings: ServeSettings, banana: bytes
) -> None:
    key = str(uuid.uuid4())
    first = add(client, banana, key=key)
    before = kept_files(settings)
    assert add(client, banana, key=key) == first
    assert kept_files(settings) == before
    assert add(client, banana, owner=OTHER_OWNER, key=key)["id"] != first["id"]
    client.delete("/v1/observations", headers=OTHER_OWNER)


def test_feedback_replaces_earlier_feedback(client: TestClient, banana: bytes) -> None:
    where = f"/v1/observations/{add(client, banana)['id']}"
    wrong = client.post(f"{where}/feedback", json={"is_right": False, "species": "lemon"}, headers=OWNER)
    assert (wrong.status_code, wrong.json()["species"]) == (200, "lemon")
    right = client.post(f"{where}/feedback", json={"is_right": True, "comment": "süß"}, headers=OWNER).json()
    assert client.get(where, headers=OWNER).json()["feedback"] == right
    assert (right["is_right"], right["species"], right["comment"]) == (True, None, "süß")


def test_feedback_with_an_unknown_species_is_refused(client: TestClient, banana: bytes) -> None:
    where = f"/v1/observations/{add(client, banana)['id']}/feedback"
    refused = client.post(where, json={"is_right": False, "species": "banane"}, headers=OWNER)
    assert (refused.status_code, "GET /v1/fruits" in refused.json()["detail"]) == (422, True)
    assert client.post(where, json={"is_right": True, "species": "lemon"}, headers=OWNER).status_code == 422
    assert client.post(where, json={"is_right": True}, headers=OTHER_OWNER).status_code == 404
    assert client.post(where, json={"right": True}, headers=OWNER).status_code == 422


def test_a_deleted_observation_leaves_nothing(client: TestClient, settings: ServeSettings, banana: bytes) -> None:
    made = add(client, banana)
    where = f"/v1/observations/{made['id']}"
    client.post(f"{where}/feedback", json={"is_right": True, "comment": "remember me"}, headers=OWNER)
    assert set(rows_with(settings, made["id"])) == {"observations", "photos", "feedback"}
    assert client.delete(where, headers=OTHER_OWNER).status_code == 404
    assert client.delete(where, headers=OWNER).status_code == 204
    assert rows_with(settings, made["id"]) == rows_with(settings, "remember me") == []
    assert not any(made["id"] in str(file) for file in kept_files(settings))
    assert client.get(where, headers=OWNER).status_code == 404
    assert client.delete(where, headers=OWNER).status_code == 404


def test_an_owner_can_be_forgotten(client: TestClient, settings: ServeSettings, banana: bytes) -> None:
    other = {"Authorization": "Bearer " + "z" * 43}
    made = [add(client, banana, owner=other) for _ in range(2)]
    assert client.delete("/v1/observations", headers=other).status_code == 204
    assert client.get("/v1/observations", headers=other).json()["total"] == 0
    assert all(rows_with(settings, one["id"]) == [] for one in made)
    assert not any(one["id"] in str(file) for one in made for file in kept_files(settings))


def test_purge_deletes_what_is_older_than_allowed(
    client: TestClient, settings: ServeSettings, banana: bytes
) -> None:
    made = add(client, banana, owner={"Authorization": "Bearer " + "y" * 43})
    age = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert age == timedelta(days=settings.retention_days)
    assert purge_expired(settings).n_observations == 0
    purged = purge_expired(settings, datetime.now(UTC) + age + timedelta(seconds=1))
    assert purged.n_observations >= 1
    assert purged.n_files >= purged.n_observations and purged.n_failed == 0
    assert rows_with(settings, made["id"]) == []
    assert kept_files(settings) == set()


def test_a_shorter_retention_holds_for_old_observations(
    client: TestClient, settings: ServeSettings, banana: bytes
) -> None:
    made = add(client, banana)
    shorter = settings.model_copy(update={"retention_days": 30})
    purge_expired(shorter, datetime.now(UTC) + timedelta(days=29))
    assert rows_with(settings, made["id"]) != []
    purge_expired(shorter, datetime.now(UTC) + timedelta(days=31))
    assert rows_with(settings, made["id"]) == []


def test_a_file_that_cannot_be_deleted_does_not_stop_the_others(
    client: TestClient, settings: ServeSettings, banana: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = {"Authorization": "Bearer " + "w" * 43}
    first, second = add(client, banana, owner=owner), add(client, banana, owner=owner)
    whole = PhotoStore.delete

    def fail(store: PhotoStore, key: str) -> None:
        if key.startswith(first["id"]):
            raise StorageError("the disk is read-only")
        whole(store, key)

    with monkeypatch.context() as patch:
        patch.setattr(PhotoStore, "delete", fail)
        assert client.delete("/v1/observations", headers=owner).status_code == 204
        assert purge_expired(settings).n_failed == 1
    assert [one["id"] for one in (first, second) if any(one["id"] in str(f) for f in kept_files(settings))] == [
        first["id"]
    ]
    assert purge_expired(settings).n_failed == 0
    assert not any(first["id"] in str(file) for file in kept_files(settings))


def test_kept_photos_belong_to_the_user_of_the_service(
    client: TestClient, settings: ServeSettings, banana: bytes
) -> None:
    made = add(client, with_location(banana))
    file = Path(settings.photos) / made["id"] / "0"
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert made["photos"][0]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_photo_that_is_gone_is_not_an_error_of_the_service(
    client: TestClient, settings: ServeSettings, banana: bytes
) -> None:
    made = add(client, banana)
    (Path(settings.photos) / made["id"] / "0").unlink()
    gone = client.get(made["photos"][0]["url"], headers=OWNER)
    assert (gone.status_code, gone.json()["reason"]) == (404, "gone")


def test_a_photo_whose_metadata_cannot_be_found_is_refused(client: TestClient, settings: ServeSettings) -> None:
    """A GIF whose second frame is cut off: it can be decoded, but not split into its parts."""
    file, before = io.BytesIO(), kept_files(settings)
    first, second = Image.linear_gradient("L").resize((60, 60)), Image.radial_gradient("L").resize((60, 60))
    first.save(file, "GIF", save_all=True, append_images=[second])
    descriptor = b"\x2c" + bytes(4) + (60).to_bytes(2, "little") * 2  # of a frame at (0, 0)
    damaged = file.getvalue()[: file.getvalue().rindex(descriptor) + 5]
    assert client.post("/v1/identify", files=files(damaged)).status_code == 200
    refused = client.post("/v1/observations", files=files(damaged), data=CONSENT, headers=OWNER)
    assert (refused.status_code, refused.json()["reason"]) == (422, "corrupt")
    assert kept_files(settings) == before


def test_photos_without_an_observation_are_purged(settings: ServeSettings, client: TestClient) -> None:
    """A service that was killed between writing a photo and its row leaves a file and its planned deletion."""
    from verger.database.connection import open_database
    from verger.database.photo_files import plan_deletions

    now, key = datetime.now(UTC), f"{uuid.uuid4()}/0"
    database = open_database(settings.database_url)
    plan_deletions(database, [key], now + timedelta(hours=1))
    database.close()
    PhotoStore(settings.photos).write(key, b"left over")
    purge_expired(settings, now)
    assert any(key in str(file) for file in kept_files(settings))
    purge_expired(settings, now + timedelta(hours=2))
    assert not any(key in str(file) for file in kept_files(settings))
