"""What a public service meets: fuzzed requests, hostile uploads, and being killed while it writes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.serve.test_identify import files
from tests.support.photos import hostile_photos
from tests.support.service import OWNER, RunningService, running_service

pytestmark = pytest.mark.slow

_CHECKS = "not_a_server_error,response_schema_conformance,content_type_conformance"
_REASONS = {
    *("empty", "not-an-image", "too-many-pixels", "truncated", "corrupt", "unsupported", "poison", "timeout"),
    "invalid-request",
}
N_HOSTILE = 1_000
N_KILLS = 30


def memory_bytes(service: RunningService) -> int:
    """Return the memory of the service without its children, which end and start."""
    return int(psutil.Process(service.process.pid).memory_info().rss)


def test_schemathesis_finds_no_server_error(tmp_path: Path) -> None:
    with running_service(tmp_path, "--key-rate", "100000/minute") as service:
        program = str(Path(sys.executable).with_name("schemathesis"))
        command = [program, "run", f"{service.url}openapi.json", "--checks", _CHECKS, "--max-examples", "50"]
        options = ["--header", f"Authorization: {OWNER['Authorization']}", "--seed", "1", "--mode", "all"]
        done = subprocess.run(
            [*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=550
        )
        assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-2_000:]
        assert "Stateful" in done.stdout
        assert service.client.get("/readyz").status_code == 200


def test_hostile_uploads_give_client_errors_and_memory_stays_flat(tmp_path: Path, banana: bytes) -> None:
    with running_service(tmp_path, "--decoder-memory-mb", "700", "--max-photo-megapixels", "20") as service:
        after_some = 0
        for number, (name, photo) in enumerate(hostile_photos(N_HOSTILE, seed=3)):
            response = service.client.post("/v1/identify", files=files(photo))
            assert response.status_code in (200, 413, 422), (name, response.text)
            if response.status_code == 422:
                assert response.json()["reason"] in _REASONS, (name, response.text)
            if number == N_HOSTILE // 3:
                after_some = memory_bytes(service)
        assert memory_bytes(service) < after_some * 1.1 + 20_000_000
        assert service.client.post("/v1/identify", files=files(banana)).status_code == 200


def test_no_acknowledged_observation_is_lost_or_doubled_by_kills(tmp_path: Path, banana: bytes) -> None:
    """Clients send observations, and again with the same key while there is no answer, as the page does."""
    acknowledged: dict[str, str] = {}
    rng = random.Random(7)
    for _ in range(N_KILLS):
        with running_service(tmp_path, "--decoders", "1", "--inference-threads", "1") as service:
            n_before = len(acknowledged)
            enough = threading.Event()
            wanted = n_before + rng.randint(1, 6)
            sender = threading.Thread(target=_send, args=(service.url, banana, acknowledged, wanted, enough))
            sender.start()
            assert enough.wait(120)
            service.process.send_signal(signal.SIGKILL)
            service.process.wait()
            sender.join(60)
            assert not sender.is_alive()
    with running_service(tmp_path) as service:
        for key, observation in list(acknowledged.items())[-5:]:
            repeated = service.client.post(
                "/v1/observations",
                files=files(banana),
                data={"consent": "true"},
                headers=OWNER | {"Idempotency-Key": key},
            )
            assert (repeated.status_code, repeated.json()["id"]) == (200, observation)
        kept = _all_observations(service.client)
        assert len(kept) == len(set(kept))
        assert set(acknowledged.values()) <= set(kept)
        for observation in acknowledged.values():
            photo = service.client.get(f"/v1/observations/{observation}/photos/0", headers=OWNER)
            assert photo.status_code == 200
        # An unacknowledged one may have been kept too: at most one for each kill.
        assert len(kept) <= len(acknowledged) + N_KILLS


def _send(url: str, photo: bytes, acknowledged: dict[str, str], wanted: int, enough: threading.Event) -> None:
    """Add observations until the service is killed; set `enough` when `wanted` are acknowledged."""
    with httpx2.Client(base_url=url, timeout=60) as client:
        while True:
            key = str(uuid.uuid4())
            headers = OWNER | {"Idempotency-Key": key}
            try:
                made = client.post(
                    "/v1/observations", files=files(photo), data={"consent": "true"}, headers=headers
                )
            except httpx2.TransportError:
                return
            assert made.status_code == 201, made.text
            acknowledged[key] = made.json()["id"]
            if len(acknowledged) >= wanted:
                enough.set()


def _all_observations(client: httpx2.Client) -> list[str]:
    found: list[str] = []
    while True:
        page = client.get("/v1/observations", params={"limit": 100, "offset": len(found)}, headers=OWNER).json()
        found += [item["id"] for item in page["items"]]
        if not page["items"]:
            assert len(found) == page["total"]
            return found
