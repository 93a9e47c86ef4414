"""The local engine by itself: tasks, workers and errors."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support import engine_tasks as tasks
from tests.support.chain import descendants, wait_until, wait_until_gone
from verger.engine.base import MAX_ATTEMPTS
from verger.engine.local.local_options import LocalOptions
from verger.engine.local.pool import LocalEngine, keep_workers, local_engine
from verger.errors import (
    DecodeError,
    JobError,
    Reason,
    ReductionError,
    SettingsError,
    SetupError,
    StorageError,
    VergerError,
)

ROOT = Path(__file__).parents[2]
GONE_WITHIN_S = 10.0


@contextmanager
def own_engine(n_workers: int = 2) -> Iterator[LocalEngine]:
    """Yield an engine with workers of its own: those that the tests share are not to be disturbed."""
    options = LocalOptions(n_workers)
    with keep_workers(options), local_engine(options) as engine:
        yield engine


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    with own_engine() as opened:
        yield opened


def test_results_come_in_the_order_of_the_items(engine: LocalEngine) -> None:
    assert engine.n_slots == 2
    assert engine.map(tasks.scale, range(40), 3) == [3 * item for item in range(40)]


def test_without_items_nothing_is_started() -> None:
    before = descendants(os.getpid())
    with own_engine() as engine:
        assert engine.map(tasks.scale, [], 3) == []
        assert descendants(os.getpid()) == before


def test_the_driver_manages_tens_of_thousands_of_tasks(engine: LocalEngine) -> None:
    before = psutil.Process().memory_info().rss
    assert engine.map(tasks.multiply, range(20_000), 2) == list(range(0, 40_000, 2))
    assert psutil.Process().memory_info().rss - before < 50e6


def test_a_task_whose_worker_dies_gets_another_attempt(engine: LocalEngine) -> None:
    deadly = {3: signal.SIGKILL, 5: signal.SIGSEGV, 9: signal.SIGALRM}
    found = engine.map(tasks.die_at_first, range(12), {item: int(sent) for item, sent in deadly.items()})
    assert found == [(item, int(item in deadly)) for item in range(12)]


def test_a_task_that_kills_every_worker_ends_the_run(engine: LocalEngine, tmp_path: Path) -> None:
    with pytest.raises(JobError) as raised:
        engine.map(tasks.die_always, [7], str(tmp_path))
    words = f"a worker process has died {MAX_ATTEMPTS} times at the same task (signal 9)"
    assert str(raised.value).startswith(words)
    assert "--workers" in str(raised.value) and "no memory left" in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"7-{n}" for n in range(MAX_ATTEMPTS)]
    assert engine.map(tasks.scale, range(4), 3) == [0, 3, 6, 9], "the engine works on"


@pytest.mark.parametrize(
    "error",
    [
        VergerError("no luck"),
        SettingsError("model", "AlexNet", ["VGG16"]),
        DecodeError(Reason.CORRUPT, "bytes are missing"),
        OSError(28, "No space left on device"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_a_task_comes_out_as_itself(engine: LocalEngine, error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        engine.map(tasks.raise_error, range(3), error)
    assert type(raised.value) is type(error) and str(raised.value) == str(error)
    assert getattr(raised.value, "errno", None) == getattr(error, "errno", None)


def test_an_unexpected_error_comes_out_with_its_message(engine: LocalEngine) -> None:
    with pytest.raises(JobError, match=r"^a task failed: ZeroDivisionError: by nothing$"):
        engine.map(tasks.raise_error, range(3), ZeroDivisionError("by nothing"))
    assert engine.map(tasks.scale, [1], 3) == [3]


def test_what_a_store_fails_at_is_tried_again(engine: LocalEngine) -> None:
    assert engine.map(tasks.fail_store, range(3), MAX_ATTEMPTS - 1) == [MAX_ATTEMPTS - 1] * 3
    with pytest.raises(StorageError, match=f"for the {MAX_ATTEMPTS}. time"):
        engine.map(tasks.fail_store, range(3), MAX_ATTEMPTS)


def test_what_the_machine_fails_at_is_tried_again(engine: LocalEngine) -> None:
    passing = [MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory"), SetupError("no child starts")]
    assert engine.map(tasks.raise_at_first, range(3), passing) == [3] * 3
    assert engine.map(tasks.raise_at_first, [0], [OSError(errno.ESTALE, "Stale file handle")]) == [1]


@pytest.mark.parametrize(
    "error",
    [
        SettingsError("model", "AlexNet", ["VGG16"]),
        ReductionError("there is no variance to explain"),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
    ],
    ids=str,
)
def test_what_lasts_is_not_tried_again(engine: LocalEngine, error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)):
        engine.map(tasks.record_and_raise, [0], (str(tmp_path), error))
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (OSError(errno.EIO, "Input/output error"), "[Errno 5] Input/output error"),
        (StorageError("the store is gone"), "the store is gone"),
        (KeyError("column"), "a task failed: KeyError: 'column'"),
        (MemoryError(), "a task failed: memory ran out; use fewer --workers"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_first_cause_of_an_error_is_the_one_that_is_reported(
    engine: LocalEngine, cause: Exception, words: str
) -> None:
    with pytest.raises((VergerError, OSError)) as raised:
        engine.map(tasks.wrap_error, [0], cause)
    assert str(raised.value) == words


def test_progress_is_reported(engine: LocalEngine) -> None:
    seen: list[tuple[int, int]] = []
    engine.map(tasks.report_counts, range(6), None, lambda *counts: seen.append(counts))
    assert seen == sorted(seen) and seen[-1] == (60, 12)
    assert len({done for done, _ in seen if 0 < done < 60}) >= 2


def test_the_shared_state_travels_to_each_worker_once(engine: LocalEngine) -> None:
    first = engine.map(tasks.times_unpickled, range(20), tasks.Counted())
    assert {n_times for _, n_times in first} == {1} and len(dict(first)) == 2
    assert {n_times for _, n_times in engine.map(tasks.times_unpickled, range(20), tasks.Counted())} == {2}


def test_workers_are_kept_from_one_run_to_the_next() -> None:
    options = LocalOptions(n_workers=2)
    with keep_workers(options):
        with local_engine(options) as one:
            first = set(one.map(tasks.own_pid, range(4), 0.3))
            one.release()
        with local_engine(options) as other:
            assert set(other.map(tasks.own_pid, range(4), 0.3)) == first
    assert len(first) == 2 and not any(map(psutil.pid_exists, first))


def test_workers_are_started_again_where_the_store_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with own_engine() as engine:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://one")
        one = engine.map(tasks.variable, range(4), "AWS_ENDPOINT_URL")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://other")
        other = engine.map(tasks.variable, range(4), "AWS_ENDPOINT_URL")
    assert {value for _, value in one} == {"http://one"} and {value for _, value in other} == {"http://other"}
    assert dict(one).keys().isdisjoint(dict(other))


def test_a_worker_that_dies_without_a_task_costs_none_an_attempt() -> None:
    with own_engine() as engine:
        for process in map(psutil.Process, set(engine.map(tasks.own_pid, range(4), 0.3))):
            process.kill()
            wait_until_gone([process], GONE_WITHIN_S)
        assert engine.map(tasks.die_at_first, range(4), {}) == [(item, 0) for item in range(4)]


def test_workers_do_not_see_what_lies_in_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("raise SystemExit('a file of the user')")
    script = (
        "import os, random, sys\n"
        "from tests.support import engine_tasks as tasks\n"
        "from verger.engine.local.local_options import LocalOptions\n"
        "from verger.engine.local.pool import local_engine\n"
        "os.chdir(sys.argv[1])\n"
        "assert sys.path[0] == ''\n"
        "with local_engine(LocalOptions(1)) as engine:\n"
        "    print(*engine.map(tasks.file_of_random, [0], None))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], env=with_root(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) not in done.stdout and done.stdout.strip().endswith("random.py")


def with_root(**more: str) -> dict[str, str]:
    """Return an environment in which `tests` can be imported."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": path} | more


@contextmanager
def waiting_driver(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """Yield a driver whose two tasks run, and its workers."""
    running = tmp_path / "running"
    running.mkdir()
    (tmp_path / "tmp").mkdir()
    driver = subprocess.Popen(
        [sys.executable, ROOT / "tests" / "support" / "waiting_driver.py", running],
        env=with_root(TMPDIR=str(tmp_path / "tmp")),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: len(list(running.iterdir())) == 2)
    yield driver, [psutil.Process(int(path.name)) for path in running.iterdir()]


def test_an_interrupt_ends_the_tasks_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    with waiting_driver(tmp_path) as (driver, workers):
        driver.send_signal(signal.SIGINT)
        _, said = driver.communicate(timeout=GONE_WITHIN_S)
    assert said.strip().endswith("KeyboardInterrupt")
    assert wait_until_gone(workers, GONE_WITHIN_S) == []
    assert list((tmp_path / "tmp").iterdir()) == [], "temporary files of killed workers are removed by the driver"


def test_workers_end_with_a_driver_that_is_killed(tmp_path: Path) -> None:
    with waiting_driver(tmp_path) as (driver, workers):
        driver.kill()
        driver.communicate(timeout=GONE_WITHIN_S)
    assert wait_until_gone(workers, GONE_WITHIN_S) == []


def test_a_worker_whose_driver_has_died_meanwhile_runs_no_task(tmp_path: Path) -> None:
    """A task that waits in the pipe must not be run: no process would read its result."""
    from multiprocessing import Pipe

    ours, theirs = Pipe()
    task = (tasks.leave_file_and_wait, "", None, 0, 0, 1)
    ours.send(task)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    worker = subprocess.Popen(
        [sys.executable, "-P", "-m", "verger.engine.local.worker", str(theirs.fileno()), str(gone.pid)],
        env=with_root(),
        pass_fds=[theirs.fileno()],
    )
    assert worker.wait(timeout=60) == 1


def test_a_run_passes_over_the_users_modules_in_the_working_folder(
    photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    """`python -m` puts the working folder on Python's path."""
    for name in ("random.py", "secrets.py", "queue.py"):
        (tmp_path / name).write_text("raise SystemExit('a file of the user')")
    words = ["run", photos, "out", "--model", tiny_model, "--components", "2"]
    command = [sys.executable, "-m", "verger", *map(str, words)]
    done = subprocess.run(command, cwd=tmp_path, env=with_root(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report.html").is_file()
