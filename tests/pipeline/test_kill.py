"""Whatever ends a run: the last good result stays, nothing half looks whole, no process outlives it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import events, victims
from tests.support.chain import (
    contents,
    descendants,
    files,
    manifest_of,
    multiplied,
    same_tables,
    start_verger,
    verger,
    wait_until_gone,
)
from tests.support.events import ENGINES, STAGING, wait_for_parts, wait_for_staging
from verger.engine.spark.session import JVM_GONE

N_PHOTOS = 600
ORPHANS_END_WITHIN_S = 15.0

# An unhurried network: there is time between one part and the last; converted once and cached.
NETWORK = ("--model", "MobileNetV2", "--weights", "random:0")
FLAGS = ("--components", 3, "--no-report")

LOCAL = "local"
SPARK = pytest.param("spark", marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def many_photos(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return multiplied(photos, tmp_path_factory.mktemp("many"), N_PHOTOS)


@pytest.fixture(scope="module")
def undisturbed(many_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result that a run gives when it is left alone, on any engine."""
    folder = tmp_path_factory.mktemp("undisturbed")
    manifest_of("run", many_photos, "out", *NETWORK, *FLAGS, "--workers", 2, cwd=folder)
    return folder / "out"


def words(photos: Path, engine: str, *more: str) -> list[object]:
    workers = ("--workers", "2") if engine == LOCAL else ()
    return ["run", photos, "out", *NETWORK, *FLAGS, *ENGINES[engine], *workers, *more]


def start(photos: Path, cwd: Path, engine: str, *more: str) -> subprocess.Popen[str]:
    return start_verger(*words(photos, engine, *more), cwd=cwd)


def check_leaves_what_can_be_resumed(said: str, folder: Path) -> None:
    """Look at what an interrupted run says and leaves: the folder of the run where it has finished parts."""
    assert "interrupted" in said, said
    left = [path.relative_to(folder).parts for path in folder.rglob("*") if path.is_file()]
    assert {part[0] for part in left} <= {STAGING}
    assert len({part[1] for part in left}) <= 1 and all(part[1].startswith("run-") for part in left)
    assert ("--resume" in said) == (events.n_parts(folder) > 0) == bool(left), "what is kept is reported"


@pytest.mark.parametrize("engine", [LOCAL, SPARK])
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
    many_photos: Path, tmp_path: Path, way: str, engine: str
) -> None:
    """A terminal's Ctrl-C goes to every process of the run, and so does its end, `kill` to one.

    The JVM passes over a Ctrl-C, and ends with its terminal: py4j complains of that, where nobody reads it.
    """
    run = start(many_photos, tmp_path, engine)
    wait_for_parts(tmp_path, run, 2)
    below = descendants(run.pid)
    assert victims.living(victims.TASK_WORKERS[engine], run.pid)
    if way in ("Ctrl-C", "hang-up"):
        os.killpg(run.pid, signal.SIGINT if way == "Ctrl-C" else signal.SIGHUP)
    else:
        run.send_signal(signal.SIGINT if way == "kill -INT" else signal.SIGTERM)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "Traceback" not in said or (way, engine) == ("hang-up", "spark"), said
    check_leaves_what_can_be_resumed(said, tmp_path)
    assert events.n_parts(tmp_path) >= 2
    assert wait_until_gone(below, ORPHANS_END_WITHIN_S) == []


@pytest.mark.slow
@pytest.mark.parametrize("engine", list(ENGINES))
def test_an_interrupted_run_is_resumed_to_the_same_result(
    many_photos: Path, undisturbed: Path, tmp_path: Path, engine: str
) -> None:
    run = start(many_photos, tmp_path, engine)
    wait_for_parts(tmp_path, run, 3)
    os.killpg(run.pid, signal.SIGINT)
    run.communicate(timeout=60)
    counts = manifest_of(*words(many_photos, engine, "--resume"), cwd=tmp_path)["counts"]
    # On a busy machine the run may have written its last part before the interrupt arrived.
    assert counts["reused"] > 0 and counts["features"] == counts["computed"] + counts["reused"]
    for name in ("features", "rejected", "components"):
        assert contents(tmp_path / "out" / name) == contents(undisturbed / name), name
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("engine", [LOCAL, SPARK])
def test_an_interrupt_while_the_engine_starts_is_heeded(many_photos: Path, tmp_path: Path, engine: str) -> None:
    run = start(many_photos, tmp_path, engine)
    wait_for_staging(tmp_path, run)
    below = descendants(run.pid)
    os.killpg(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert "Traceback" not in said, said
    check_leaves_what_can_be_resumed(said, tmp_path)
    assert wait_until_gone(below, ORPHANS_END_WITHIN_S) == []


@pytest.mark.parametrize(
    ("module", "engine"),
    [
        ("verger.cli.flags", LOCAL),  # before anything of ours could handle it
        ("pyarrow.parquet", LOCAL),
        ("pyspark.conf", "spark"),
        ("verger.report.page", LOCAL),  # after the last part is written
    ],
)
def test_an_interrupt_during_an_import_is_heeded(photos: Path, tmp_path: Path, module: str, engine: str) -> None:
    command = ["run", photos, "out", "--model", "fruitnet", *ENGINES[engine]]
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.interrupted", module, *map(str, command)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("engine", list(ENGINES))
def test_an_interrupted_overwrite_keeps_the_old_result(
    many_photos: Path, undisturbed: Path, tmp_path: Path, engine: str
) -> None:
    shutil.copytree(undisturbed, tmp_path / "out")
    run = start(many_photos, tmp_path, engine, "--overwrite")
    wait_for_parts(tmp_path, run)
    os.killpg(run.pid, signal.SIGINT)
    run.communicate(timeout=60)
    assert run.returncode == 130
    assert files(tmp_path / "out") == files(undisturbed)


def put_earlier_result(undisturbed: Path, folder: Path) -> None:
    shutil.copytree(undisturbed, folder / "out")
    (folder / "out" / "from-before").touch()


def check_rerun(done: Path, undisturbed: Path) -> None:
    """Compare the result of a run after one that was killed with an undisturbed one."""
    assert same_tables(done, undisturbed)
    for name in ("features", "rejected"):  # what is new is folded into the old PCA in another order
        assert contents(done / name) == contents(undisturbed / name), name
    assert [path.name for path in done.parent.iterdir()] == ["out"]
    assert not (done / "from-before").exists()


def kill_and_rerun(seed: int, engine: str, again: str, photos: Path, undisturbed: Path, folder: Path) -> None:
    """Kill the driver at a part that chance chooses. Odd seeds have an earlier result in place."""
    has_earlier = seed % 2 == 1
    if has_earlier:
        put_earlier_result(undisturbed, folder)
        before = files(folder / "out")
    run = start(photos, folder, engine, "--overwrite")
    wait_for_parts(folder, run, random.Random(seed).randint(1, 4))
    below = descendants(run.pid)
    run.kill()
    run.communicate(timeout=60)
    assert wait_until_gone(below, ORPHANS_END_WITHIN_S) == []
    if has_earlier:
        assert files(folder / "out") == before
    else:
        assert not (folder / "out").exists()
    manifest_of(*words(photos, engine, again), cwd=folder)
    check_rerun(folder / "out", undisturbed)


@pytest.mark.parametrize("engine", [LOCAL, SPARK])
def test_a_killed_run_changes_nothing_and_the_next_one_is_whole(
    engine: str, many_photos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    kill_and_rerun(0, engine, "--overwrite", many_photos, undisturbed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("engine", list(ENGINES))
@pytest.mark.parametrize("again", ["--overwrite", "--resume"])
@pytest.mark.parametrize("seed", range(1, 3))
def test_a_killed_run_changes_nothing_at_whatever_part_it_dies(
    seed: int, again: str, engine: str, many_photos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    kill_and_rerun(seed, engine, again, many_photos, undisturbed, tmp_path)


@pytest.fixture(scope="module")
def few(photos: Path, tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[object], Path, int]:
    """A quick run: its words, its result, and how often its driver touches the staging folder."""
    folder = tmp_path_factory.mktemp("few")
    command = ["run", photos, "out", "--model", tiny_model, "--components", 2]
    site = events.mortal(folder / "site")
    manifest_of(*command, cwd=folder, **site)
    return command, folder / "out", int((folder / "site" / "count").read_text())


def die_and_rerun(
    moment: float, engine: str, again: str, few: tuple[list[object], Path, int], has_earlier: bool, folder: Path
) -> None:
    """Let the driver kill itself as it touches its staging folder, `moment` being the share of the times.

    Where that is in the switch, the new result may be in place already.
    """
    command, undisturbed, n_times = few
    command = [*command, *ENGINES[engine]]
    work = folder / "work"
    work.mkdir()
    if has_earlier:
        put_earlier_result(undisturbed, work)
    before = files(work / "out")
    dies_at = 1 + int(moment * n_times)
    died = verger(*command, "--overwrite", cwd=work, **events.mortal(folder / "site", dies_at=dies_at))
    assert died.returncode == -signal.SIGKILL, "it ended before it could die"
    if files(work / "out") != before:
        assert same_tables(work / "out", undisturbed) and not (work / "out" / "from-before").exists()
    manifest_of(*command, again, cwd=work)
    check_rerun(work / "out", undisturbed)


@pytest.mark.parametrize("moment", [0.5, 0.999], ids=["middle", "end"])
def test_a_driver_that_dies_changes_nothing_and_the_next_run_is_whole(
    moment: float, few: tuple[list[object], Path, int], tmp_path: Path
) -> None:
    die_and_rerun(moment, LOCAL, "--overwrite", few, moment > 0.5, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "seed"), [(LOCAL, seed) for seed in range(8)] + [("spark", 8), ("spark", 9)])
def test_a_driver_may_die_anywhere(
    engine: str, seed: int, few: tuple[list[object], Path, int], tmp_path: Path
) -> None:
    chance = random.Random(seed)
    again = chance.choice(["--overwrite", "--resume"])
    moment = chance.random() * (0.9 if engine == "spark" else 1)  # engines touch it a little differently
    die_and_rerun(moment, engine, again, few, chance.random() < 0.5, tmp_path)


@pytest.mark.parametrize("engine", [LOCAL, SPARK])
def test_a_run_goes_on_without_the_workers_it_loses(
    engine: str, many_photos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run = start(many_photos, tmp_path, engine)
    wait_for_parts(tmp_path, run)
    lost = victims.living(victims.TASK_WORKERS[engine], run.pid)
    assert lost
    for worker in lost:
        worker.kill()
    _, said = run.communicate(timeout=300)
    assert run.returncode == 0, said
    assert same_tables(tmp_path / "out", undisturbed)


@pytest.mark.slow
def test_a_run_whose_jvm_is_killed_says_so_and_keeps_the_old_result(
    many_photos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed, tmp_path / "out")
    run = start(many_photos, tmp_path, "spark", "--overwrite")
    wait_for_parts(tmp_path, run)
    below = descendants(run.pid)
    (jvm,) = victims.living(victims.DRIVER_JVM, run.pid)
    jvm.kill()
    _, said = run.communicate(timeout=60)
    assert run.returncode == 1
    assert JVM_GONE in said and "Traceback" not in said, said
    assert files(tmp_path / "out") == files(undisturbed)
    assert wait_until_gone(below, ORPHANS_END_WITHIN_S) == []
