"""Spark Connect: a server in a process of its own, and clients that have no JVM; pyspark 4 and newer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.support.chain import beside, manifest_of, table, verger
from tests.support.labelled_vectors import make_result
from verger.engine.spark.connect import connect
from verger.engine.spark.installation import spark_home
from verger.engine.spark.session import open_session
from verger.engine.spark.spark_options import SessionOptions
from verger.engine.spark.standalone.daemons import daemon_environment
from verger.errors import SettingsError, SetupError
from verger.learn.classifier_jobs import train_result
from verger.learn.training_options import TrainOptions
from verger.process.progress import SilentProgress
from verger.settings import load_settings

_START_S = 120.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with two cores, which knows nothing of the client's folders but by their paths."""
    pytest.importorskip("grpc", reason="needs verger[connect]")
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    command = [f"{spark_home()}/bin/spark-submit", "--master", "local[2]"]
    command += ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer"]
    for setting in (
        f"connect.grpc.binding.port={port}",
        "connect.grpc.binding.address=127.0.0.1",
        "ui.enabled=false",
    ):
        command += ["--conf", f"spark.{setting}"]
    with (folder / "log").open("wb") as log:
        environment = daemon_environment("127.0.0.1")
        running = subprocess.Popen(
            [*command, "spark-internal"], cwd=folder, env=environment, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + _START_S
        while not answers(port):
            assert running.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.2)
        yield f"sc://127.0.0.1:{port}"
    finally:
        running.kill()
        running.wait()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def ask_library(*words: object) -> None:
    command = [sys.executable, "-m", "tests.support.connect_client", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr


def check_components(ours: pa.Table, theirs: pa.Table) -> None:
    """Rows may come to the moments in another order, so that the last bit may differ."""
    assert ours["path"].equals(theirs["path"])
    pairs = zip(ours["components"].to_pylist(), theirs["components"].to_pylist(), strict=True)
    for one, other in pairs:
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(one, other, atol=1e-4, rtol=1e-5)


@pytest.mark.slow
def test_the_stages_give_what_they_give_on_classic_spark(
    server: str, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    for master, out in ((server, "connect"), ("local[2]", "classic")):
        ask_library(master, photos, tiny_model, tmp_path / out)
    for name in ("pipeline", "stages"):
        ours, theirs = (table(tmp_path / out / name) for out in ("connect", "classic"))
        check_components(ours, theirs)
        assert ours.drop_columns(["components"]).equals(theirs.drop_columns(["components"]))
    assert table(tmp_path / "connect" / "pipeline").num_rows == 15


@pytest.mark.slow
def test_a_run_gives_what_it_gives_on_classic_spark(
    server: str, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    words = ("run", photos, "out", "--model", tiny_model, "--components", 2, "--export", "csv")
    for master, folder in ((server, "connect"), ("local[2]", "classic")):
        (tmp_path / folder).mkdir()
        manifest = manifest_of(*words, "--master", master, cwd=tmp_path / folder)
        assert (manifest["counts"]["features"], manifest["counts"]["rejected"]) == (12, 3)
        assert manifest["parity"]["min_cosine"] >= 0.99999
    ours, theirs = (tmp_path / folder / "out" for folder in ("connect", "classic"))
    for name in ("features", "rejected"):
        assert table(ours / name).equals(table(theirs / name))
    check_components(table(ours / "components"), table(theirs / "components"))
    assert sorted(path.name for path in ours.iterdir()) == sorted(path.name for path in theirs.iterdir())
    assert beside(ours) == []


@pytest.mark.slow
def test_a_run_that_fails_says_why_and_leaves_nothing(server: str, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no network")
    done = verger("run", photos, "out", "--model", "no.onnx", "--master", server, cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["no.onnx"]


@pytest.mark.slow
def test_lda_gives_what_it_gives_on_classic_spark(server: str, tmp_path: Path) -> None:
    make_result(tmp_path / "result")
    for master, out in ((server, "connect"), ("local[2]", "classic")):
        manifest_of("train", "result", out, "--classifier", "lda", "--master", master, cwd=tmp_path)
    ours, theirs = (tmp_path / out / "classifier.npz" for out in ("connect", "classic"))
    assert ours.read_bytes() == theirs.read_bytes()


def test_training_says_that_it_wants_classic_spark(tmp_path: Path) -> None:
    settings = load_settings(master="sc://h:15002")
    with pytest.raises(SettingsError, match=r"sc://h:15002.*classic Spark"):
        train_result(tmp_path, tmp_path / "out", settings, SilentProgress(), TrainOptions())


def test_a_server_that_does_not_answer_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARK_REMOTE", raising=False)
    url = f"sc://127.0.0.1:{free_port()}/;user_id=me"
    with pytest.raises(SetupError, match=r"no Spark Connect server answers at sc://127"):
        connect(SessionOptions(url))
    with pytest.raises(SetupError, match="no Spark Connect server"):
        open_session(url)
    assert "SPARK_CONNECT_MODE_ENABLED" not in os.environ  # classic Spark works on in this process
