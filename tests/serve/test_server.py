from __future__ import annotations

import signal
import ssl
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.serve.test_identify import files
from tests.support.chain import verger
from tests.support.poison import hang, mortal, spoil
from tests.support.service import OWNER, running_service


def test_the_command_starts_a_service_that_ends_when_asked(tmp_path: Path, banana: bytes) -> None:
    with running_service(tmp_path) as service:
        assert service.client.get("/readyz").status_code == 200
        answer = service.client.post("/v1/identify", files=files(banana)).json()
        assert answer["candidates"][0]["species"] == "banana"
        assert service.stop() == 0
    assert (tmp_path / "verger-data" / "verger.db").is_file()
    assert "stopped" in "".join(service.lines)


def test_observations_are_there_after_a_restart(tmp_path: Path, banana: bytes) -> None:
    with running_service(tmp_path) as service:
        headers, fields = OWNER, {"consent": "true"}
        made = service.client.post("/v1/observations", files=files(banana), data=fields, headers=headers).json()
        service.kill()
    with running_service(tmp_path) as service:
        assert service.client.get(f"/v1/observations/{made['id']}", headers=OWNER).json() == made


def test_several_processes_share_the_port_the_database_and_the_metrics(tmp_path: Path, banana: bytes) -> None:
    with running_service(tmp_path, "--processes", "2", "--inference-threads", "1", "--decoders", "1") as service:
        for _ in range(6):
            with httpx2.Client(base_url=service.url, timeout=60) as client:
                assert client.post("/v1/identify", files=files(banana)).status_code == 200
        metrics = service.client.get("/metrics").text
        assert 'verger_decisions_total{decision="sure"} 6.0' in metrics
        assert service.stop() == 0


@pytest.mark.parametrize(
    ("harm", "reason"), [(partial(spoil, sent=signal.SIGSEGV), "poison"), (hang, "timeout")], ids=["kills", "hangs"]
)
def test_a_photo_that_kills_or_hangs_the_decoder_costs_one_child(
    tmp_path: Path, banana: bytes, harm: Callable[[Path], None], reason: str
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(banana)
    harm(bad)
    flags = ("--decoders", "2", "--deadline-s", "5")
    with running_service(tmp_path, *flags, PYTHONPATH=mortal(tmp_path)) as service:
        parent = psutil.Process(service.process.pid)
        before = {child.pid for child in parent.children()}
        refused = service.client.post("/v1/identify", files=files(bad.read_bytes()))
        assert (refused.status_code, refused.json()["reason"]) == (422, reason), refused.text
        answers = [service.client.post("/v1/identify", files=files(banana)) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200] * 4
        assert len(before - {child.pid for child in parent.children()}) == 1


def test_a_port_in_use_is_an_error_in_words(tmp_path: Path) -> None:
    with running_service(tmp_path) as service:
        port = service.url.rsplit(":", 1)[1].strip("/")
        done = verger("serve", "--port", port, "--classifier", "fruitnet", cwd=tmp_path)
    assert (done.returncode, "a free port" in done.stderr) == (2, True), done.stderr


def test_https_with_a_certificate(tmp_path: Path) -> None:
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "key.pem",
        "-out",
        "chain.pem",
    ]
    subject = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *subject], cwd=tmp_path, check=True, capture_output=True)
    flags = ("--certificate", "chain.pem", "--certificate-key", "key.pem")
    with running_service(tmp_path, *flags) as service:
        assert service.url.startswith("https://")
        context = ssl.create_default_context(cafile=tmp_path / "chain.pem")
        response = httpx2.get(service.url + "healthz", verify=context)
        assert response.headers["Strict-Transport-Security"]


def test_without_the_extra_the_error_says_what_to_install(tmp_path: Path) -> None:
    program = "import sys; sys.modules['uvicorn'] = None; from verger.__main__ import main; main()"
    command = [sys.executable, "-c", program, "serve"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "pip install 'verger[serve]'" in done.stderr) == (1, True), done.stderr


def test_keys_are_managed_on_the_command_line(tmp_path: Path) -> None:
    key = verger("serve", "keys", "create", "orchard app", cwd=tmp_path)
    assert (key.returncode, key.stdout.startswith("verger_")) == (0, True), key.stderr
    listed = verger("serve", "keys", "list", cwd=tmp_path).stdout
    assert "orchard app" in listed and key.stdout.strip() not in listed
    assert verger("serve", "keys", "revoke", listed.split()[0], cwd=tmp_path).returncode == 0
    assert "revoked" in verger("serve", "keys", "list", cwd=tmp_path).stdout
    assert verger("serve", "keys", "revoke", "nothing", cwd=tmp_path).returncode == 2
    early = verger("serve", "--photos", "elsewhere", "purge", cwd=tmp_path)
    assert (early.returncode, "flags after the command" in early.stderr) == (2, True)
    assert verger("serve", "purge", cwd=tmp_path).stdout == "deleted 0 observations and 0 files of photos\n"
