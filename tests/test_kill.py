"""Whatever ends a run: the last good result stays, nothing half looks whole, no process outlives it."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests import victims
from tests.chain import (
    contents,
    descendants,
    files,
    manifest_of,
    multiplied,
    same_tables,
    start_verger,
    wait_until,
    wait_until_gone,
)
from verger.session.run import JVM_GONE

N_PHOTOS = 600
ORPHANS_END_WITHIN_S = 15.0
STAGING = ".out.verger-staging"

# An unhurried network, so that a kill lands in the middle; converted once and cached.
NETWORK = ("--model", "MobileNetV2", "--weights", "random:0")


@pytest.fixture(scope="module")
def many_photos(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return multiplied(photos, tmp_path_factory.mktemp("many"), N_PHOTOS)


@pytest.fixture(scope="module")
def undisturbed(many_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result that a run gives when it is left alone."""
    folder = tmp_path_factory.mktemp("undisturbed")
    manifest_of("run", many_photos, "out", *NETWORK, "--components", 3, "--no-report", cwd=folder)
    return folder / "out"


def duration_s(result: Path) -> float:
    """How long the next run will take: the network is converted once."""
    spent: dict[str, float] = json.loads((result / "manifest.json").read_text())["timings_s"]
    return spent["total"] - spent["convert"]


def start(photos: Path, cwd: Path, *more: str) -> subprocess.Popen[str]:
    return start_verger("run", photos, "out", *NETWORK, "--components", 3, "--no-report", *more, cwd=cwd)


def wait_for(folder: Path, run: subprocess.Popen[str]) -> None:
    def is_there() -> bool:
        assert run.poll() is None, "the run ended before it could be disturbed"
        return folder.exists()

    wait_until(is_there)


@pytest.mark.core
@pytest.mark.parametrize(
    "way",
    [
        "Ctrl-C",
        "kill",
        pytest.param("kill -INT", marks=pytest.mark.slow),
        pytest.param("hang-up", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_leaves_nothing_but_what_can_be_resumed(
    many_photos: Path, tmp_path: Path, way: str
) -> None:
    """A terminal's Ctrl-C goes to every process of the run, and so does its end, `kill` to one.

    The JVM passes over a Ctrl-C, and ends with its terminal: py4j complains of that, where nobody reads it.
    """
    run = start(many_photos, tmp_path)
    wait_for(tmp_path / STAGING / "result" / "features" / "_temporary", run)
    time.sleep(1)
    below = descendants(run.pid)
    assert any("java" in process.name() for process in below)
    if way in ("Ctrl-C", "hang-up"):
        os.killpg(run.pid, signal.SIGINT if way == "Ctrl-C" else signal.SIGHUP)
    else:
        run.send_signal(signal.SIGINT if way == "kill -INT" else signal.SIGTERM)
    _, told = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "interrupted" in told and ("Traceback" not in told or way == "hang-up"), told
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.relative_to(tmp_path).parts[:2] == (STAGING, "journal") for path in left)
    assert ("--resume" in told) == bool(left), "what is kept is told"
    assert wait_until_gone(below, ORPHANS_END_WITHIN_S) == []


def test_an_interrupt_while_spark_starts_is_heeded(many_photos: Path, tmp_path: Path) -> None:
    run = start(many_photos, tmp_path)
    wait_for(tmp_path / STAGING, run)
    time.sleep(0.7)
    below = descendants(run.pid)
    os.killpg(run.pid, signal.SIGINT)
    _, told = run.communicate(timeout=60)
    assert run.returncode == 130, told
    assert "interrupted" in told and "Traceback" not in told, told
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.relative_to(tmp_path).parts[:2] == (STAGING, "journal") for path in left)
    assert ("--resume" in told) == bool(left), "what is kept is told"
    assert wait_until_gone(below, ORPHANS_END_WITHIN_S) == []


@pytest.mark.parametrize(
    "module",
    [
        "verger.cli.chain",  # before anything of ours could handle it
        "scipy.sparse._base",  # pyspark takes it for a SciPy that is not there
        "openvino.tools.ovc.moc_frontend.jax_frontend_utils",  # OpenVINO passes over it, after the last job
    ],
)
def test_an_interrupt_that_a_library_swallows_is_heeded(photos: Path, tmp_path: Path, module: str) -> None:
    words = ["run", str(photos), "out", "--model", "fruitnet", "--components", "3", "--no-report"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.interrupted", module, *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_interrupted_overwrite_keeps_the_old_result(
    many_photos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed, tmp_path / "out")
    run = start(many_photos, tmp_path, "--overwrite")
    wait_for(tmp_path / STAGING / "result" / "features" / "_temporary", run)
    os.killpg(run.pid, signal.SIGINT)
    run.communicate(timeout=60)
    assert run.returncode == 130
    assert files(tmp_path / "out") == files(undisturbed)


def die_and_rerun(seed: int, photos: Path, undisturbed: Path, tmp_path: Path, again: str = "--overwrite") -> None:
    """Odd seeds have an earlier result in place, which the run is to replace."""
    has_earlier = seed % 2 == 1
    if has_earlier:
        shutil.copytree(undisturbed, tmp_path / "out")
        (tmp_path / "out" / "from-before").touch()
        before = files(tmp_path / "out")
    run = start(photos, tmp_path, "--overwrite")
    time.sleep(random.Random(seed).uniform(0.05, 0.75) * duration_s(undisturbed))
    below: list[psutil.Process] = descendants(run.pid)
    assert run.poll() is None, "the run ended before it could be killed"
    run.kill()
    run.communicate(timeout=60)
    assert wait_until_gone(below, ORPHANS_END_WITHIN_S) == []
    if has_earlier:
        assert files(tmp_path / "out") == before
    else:
        assert not (tmp_path / "out").exists()
    manifest_of("run", photos, "out", *NETWORK, "--components", 3, "--no-report", again, cwd=tmp_path)
    assert same_tables(tmp_path / "out", undisturbed)
    for name in ("features", "rejected"):  # what is new is folded into the old PCA in another order
        assert contents(tmp_path / "out" / name) == contents(undisturbed / name), name
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not (tmp_path / "out" / "from-before").exists()


@pytest.mark.parametrize("seed", range(1))
def test_a_killed_run_changes_nothing_and_the_next_one_is_whole(
    seed: int, many_photos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    die_and_rerun(seed, many_photos, undisturbed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("again", ["--overwrite", "--resume"])
@pytest.mark.parametrize("seed", range(1, 3))
def test_a_killed_run_changes_nothing_whenever_it_dies(
    seed: int, again: str, many_photos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    die_and_rerun(seed, many_photos, undisturbed, tmp_path, again)


@pytest.mark.slow
def test_a_run_goes_on_without_the_python_workers_it_loses(
    many_photos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run = start(many_photos, tmp_path)
    wait_for(tmp_path / STAGING / "result" / "features" / "_temporary", run)
    time.sleep(1)
    lost = victims.living(victims.PYTHON_WORKER, run.pid)
    assert lost
    for worker in lost:
        worker.kill()
    _, told = run.communicate(timeout=300)
    assert run.returncode == 0, told
    assert same_tables(tmp_path / "out", undisturbed)


@pytest.mark.slow
def test_a_run_whose_jvm_is_killed_says_so_and_keeps_the_old_result(
    many_photos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed, tmp_path / "out")
    run = start(many_photos, tmp_path, "--overwrite")
    wait_for(tmp_path / STAGING / "result" / "features" / "_temporary", run)
    below = descendants(run.pid)
    (jvm,) = victims.living(victims.DRIVER_JVM, run.pid)
    jvm.kill()
    _, told = run.communicate(timeout=60)
    assert run.returncode == 1
    assert JVM_GONE in told and "Traceback" not in told, told
    assert files(tmp_path / "out") == files(undisturbed)
    assert wait_until_gone(below, ORPHANS_END_WITHIN_S) == []
