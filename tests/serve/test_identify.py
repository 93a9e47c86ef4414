from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from tests.support.photos import claim_size
from verger.errors import Reason
from verger.kernel.classifier.classifier import BUNDLED, load_classifier
from verger.kernel.decode import DEFAULT_MAX_PIXELS
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.inference import Extractor, featurize_photo
from verger.kernel.networks.network import prepare_network
from verger.learn.predict import predict
from verger.serve.state import Service


def files(*photos: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("photo", (f"{i}.jpg", photo, "image/jpeg")) for i, photo in enumerate(photos)]


def service_of(client: TestClient) -> Service:
    app = client.app
    assert isinstance(app, FastAPI)
    service: Service = app.state.service
    return service


def test_a_photo_of_a_fruit_is_named_with_facts_and_versions(client: TestClient, banana: bytes) -> None:
    response = client.post("/v1/identify", files=files(banana))
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["decision"] == "sure"
    best = answer["candidates"][0]
    assert (best["species"], best["name"], best["latin"]) == ("banana", "Banana", "Musa acuminata")
    assert best["facts"]["family"] == "Musaceae"
    shares = [candidate["probability"] for candidate in answer["candidates"]]
    assert len(shares) == 5 and shares == sorted(shares, reverse=True)
    assert answer["versions"]["model"].startswith("fruitnet-")
    assert len(answer["versions"]["classifier"]) == 8
    assert answer["photos"][0]["width"] == Image.open(io.BytesIO(banana)).width


def test_the_answer_is_in_the_language_of_the_phone(client: TestClient, banana: bytes) -> None:
    response = client.post(
        "/v1/identify", files=files(banana), headers={"Accept-Language": "de, fr-CH;q=0.9, en;q=0.8"}
    )
    assert response.json()["candidates"][0]["name"] == "Banane"
    assert response.headers["Content-Language"] == "fr"
    assert "Accept-Language" in response.headers["Vary"]


@pytest.mark.parametrize(
    ("accepted", "language"), [("fr;q=0, en", "en"), ("fr; q=0.9, en; q=0.1", "fr"), ("it", "en"), ("fr-CA", "fr")]
)
def test_the_language_follows_the_qualities(client: TestClient, accepted: str, language: str) -> None:
    response = client.get("/v1/fruits/banana", headers={"Accept-Language": accepted})
    assert response.headers["Content-Language"] == language


def test_a_photo_may_be_the_body(client: TestClient, banana: bytes) -> None:
    of_form = client.post("/v1/identify", files=files(banana)).json()
    of_body = client.post("/v1/identify", content=banana, headers={"Content-Type": "image/jpeg"}).json()
    assert of_body == of_form


def test_the_service_answers_as_verger_predict_does(client: TestClient, renders: Path) -> None:
    classifier = load_classifier(BUNDLED["fruitnet"])
    paths = sorted(renders.glob("*/0_100.jpg"))
    for path, prediction in zip(paths, predict(paths, classifier), strict=True):
        answer = client.post("/v1/identify", files=files(path.read_bytes())).json()
        assert answer["decision"] == (prediction.decision or "").replace(" ", "_")
        fruits = [share for name, share in prediction.species if name != "Not a fruit"]
        assert answer["candidates"][0]["probability"] == pytest.approx(fruits[0], abs=1e-6)
        variety = answer["candidates"][0]["variety"]
        assert (variety is None) == (prediction.variety is None)


def test_vectors_are_equal_to_the_chain_bit_for_bit(client: TestClient, banana: bytes) -> None:
    found = client.portal.call(service_of(client).recognizer.recognize, [banana])  # type: ignore[union-attr]
    extractor = Extractor(prepare_network(NetworkSpec("fruitnet", views="crops")))
    expected = featurize_photo(banana, extractor, max_pixels=DEFAULT_MAX_PIXELS, decode="scaled").features
    assert np.array_equal(found.photos[0].features, expected)


def test_several_photos_of_a_fruit_count_equally(client: TestClient, banana: bytes, lemon: bytes) -> None:
    def shares(*photos: bytes) -> dict[str, float]:
        candidates = client.post("/v1/identify", files=files(*photos)).json()["candidates"]
        return {candidate["species"]: candidate["probability"] for candidate in candidates}

    alone, both = shares(banana), shares(banana, lemon, banana, lemon)
    assert both["banana"] == pytest.approx(alone["banana"] / 2 + shares(lemon).get("banana", 0) / 2, abs=0.01)
    assert {"banana", "lemon"} <= set(both)


def test_a_grey_wall_is_no_fruit(client: TestClient) -> None:
    wall = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).normal(128, 4, (300, 400, 3)).astype(np.uint8)).save(wall, "JPEG")
    answer = client.post("/v1/identify", files=files(wall.getvalue())).json()
    assert answer["decision"] != "sure"


@pytest.mark.parametrize(
    ("photo", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"<html>not a photo</html>", Reason.NOT_AN_IMAGE),
        ("truncated", Reason.TRUNCATED),
        ("huge", Reason.TOO_MANY_PIXELS),
    ],
)
def test_a_photo_that_cannot_be_decoded_has_a_reason(
    client: TestClient, banana: bytes, photo: bytes | str, reason: Reason
) -> None:
    made = {"truncated": banana[: len(banana) // 2], "huge": claim_size(banana, 60_000, 60_000)}
    data = made[photo] if isinstance(photo, str) else photo
    response = client.post("/v1/identify", files=files(banana, data))
    assert response.status_code == 422, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert (response.json()["reason"], response.json()["photo"]) == (reason, 1)


def test_requests_that_are_no_photos_say_what_to_send(client: TestClient, banana: bytes) -> None:
    too_many = client.post("/v1/identify", files=files(*[banana] * 6))
    assert (too_many.status_code, "1 to 5 files" in too_many.json()["detail"]) == (422, True)
    no_file = client.post("/v1/identify", files=[("picture", ("a.jpg", banana, "image/jpeg"))])
    assert (no_file.status_code, "found 0" in no_file.json()["detail"]) == (422, True)
    as_text = client.post("/v1/identify", content=b"banana", headers={"Content-Type": "text/plain"})
    assert as_text.status_code == 415
    as_json = client.post("/v1/identify", json={"photo": "banana"})
    assert (as_json.status_code, "uploads" in as_json.json()["detail"]) == (422, True)
    compressed = client.post(
        "/v1/identify", content=banana, headers={"Content-Type": "image/jpeg", "Content-Encoding": "gzip"}
    )
    assert compressed.status_code == 415


def test_large_photos_and_requests_are_refused(client: TestClient) -> None:
    photo = client.post(
        "/v1/identify", content=b"\xff\xd8" + bytes(2_100_000), headers={"Content-Type": "image/jpeg"}
    )
    assert (photo.status_code, photo.json()["reason"]) == (413, "too-large")
    request = client.post("/v1/identify", content=bytes(11_000_000), headers={"Content-Type": "image/jpeg"})
    assert request.status_code == 413

    def chunks() -> object:
        for _ in range(11):
            yield bytes(1_000_000)

    chunked = client.post("/v1/identify", content=chunks(), headers={"Content-Type": "image/jpeg"})  # type: ignore[arg-type]
    assert chunked.status_code == 413
