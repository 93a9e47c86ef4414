"""make soak: runs of which something is killed at a random moment, compared with one that was left alone.

A run that fails of it is started again at once. Prints who was killed and what became of the runs, and leaves the
table in docs/soak.md.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from tests.support import victims
from tests.support.chain import files, manifest_of, same_tables, start_verger, verger

from benchmarks.measure import cpu_name
from verger.engine.spark.standalone.control import ClusterOptions, down, up
from verger.storage.manifest import MANIFEST, software_versions

RESULTS = Path(__file__).parents[1] / "docs" / "soak.md"
# An unhurried network, so that a kill lands in the middle.
FLAGS = ("--model", "MobileNetV2", "--weights", "random:0", "--components", "3", "--no-report", "--overwrite")
# Whom to kill, by what runs the tasks.
LOCAL, SPARK, CLUSTER = "local engine", "local Spark", "cluster"
_OF_SPARK = (victims.DRIVER, victims.DRIVER_JVM, victims.PYTHON_WORKER)
VICTIMS: dict[str, tuple[str, ...]] = {
    LOCAL: (victims.DRIVER, victims.LOCAL_WORKER),
    SPARK: _OF_SPARK,
    CLUSTER: (*_OF_SPARK, victims.EXECUTOR, victims.WORKER),
}
RUN_TIMEOUT_S = 600

# What becomes of a run, in the order of the table; the last two must not happen.
TOO_LATE, WENT_ON, RERUN, LOST, DIFFERS = "ended before", "went on", "rerun is whole", "old result lost", "differs"
OUTCOMES = (TOO_LATE, WENT_ON, RERUN, LOST, DIFFERS)


@dataclass(frozen=True)
class Ground:
    """Where runs are disturbed: the photos, the result of a run left alone, and the seconds of one, by means."""

    photos: Path
    undisturbed: Path
    durations_s: dict[str, float]
    rerun_flags: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """Whom to kill, where, and when (as a share of an undisturbed run's time)."""

    victim: str
    means: str
    moment: float
    has_earlier: bool


def main() -> None:
    """Disturb runs, print the table; exit code 1 where a result was lost or differs."""
    asked = _asked()
    with tempfile.TemporaryDirectory(prefix="verger-soak-") as name:
        os.environ["VERGER_STATE"] = f"{name}/state"  # a cluster of our own
        ground = _prepare(Path(name), asked.photos, ("--resume",) if asked.resume else ())
        found = []
        for case in _cases(asked.runs, asked.seed):
            found.append((case, _disturb(case, ground, Path(name) / "run")))
            _say(f"{len(found):3d}  {_where(case)}, at {case.moment:.2f}: {found[-1][1]}")
            RESULTS.write_text(_table(found, asked))  # each time: the soak itself may be interrupted
    print(RESULTS.read_text())
    sys.exit(any(outcome in (LOST, DIFFERS) for _, outcome in found))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="start failed runs again with --resume")
    return parser.parse_args()


def _prepare(folder: Path, n_photos: int, rerun_flags: tuple[str, ...]) -> Ground:
    photos = folder / "photos"
    sampled = verger("sample", photos, "--per-kind", n_photos // 10, cwd=folder)
    assert sampled.returncode == 0, sampled.stderr
    for i in range(5):
        (photos / f"broken-{i}.jpg").write_bytes(b"\xff\xd8\xff" * i)
    durations_s = {}
    for means in VICTIMS:
        with _master(means) as (flags, _):
            spent = manifest_of("run", photos, "undisturbed", *FLAGS, *flags, cwd=folder)["timings_s"]
        durations_s[means] = spent["total"] - spent["convert"]  # the network is converted once
    return Ground(photos, folder / "undisturbed", durations_s, rerun_flags)


def _cases(n_runs: int, seed: int) -> Iterator[Case]:
    """Yield cases by chance, every kind of victim as often as the others."""
    chance = random.Random(seed)
    kinds = [(victim, means) for means, kinds_there in VICTIMS.items() for victim in kinds_there]
    for number in range(n_runs):
        if number % len(kinds) == 0:
            chance.shuffle(kinds)
        yield Case(*kinds[number % len(kinds)], chance.uniform(0.05, 0.95), chance.random() < 0.5)


def _disturb(case: Case, ground: Ground, folder: Path) -> str:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    out = folder / "out"
    if case.has_earlier:
        shutil.copytree(ground.undisturbed, out)
        (out / "from-before").touch()
    before = files(out)
    with _master(case.means) as (flags, workers):
        words = ("run", ground.photos, "out", *FLAGS, *flags)
        run = start_verger(*words, cwd=folder)
        time.sleep(case.moment * ground.durations_s[case.means])
        is_killed = _kill(case.victim, run, workers)
        run.communicate(timeout=RUN_TIMEOUT_S)
        if run.returncode:
            if files(out) != before and not _is_whole(out, ground):
                return LOST
            again = verger(*words, *ground.rerun_flags, cwd=folder)
            _say(again.stderr if again.returncode else "")
    if not _is_whole(out, ground):
        return DIFFERS
    return RERUN if run.returncode else WENT_ON if is_killed else TOO_LATE


def _is_whole(out: Path, ground: Ground) -> bool:
    """Tell whether it is a new result, equal to the undisturbed one."""
    is_new = (out / MANIFEST).exists() and not (out / "from-before").exists()
    return is_new and same_tables(out, ground.undisturbed)


@contextmanager
def _master(means: str) -> Iterator[tuple[tuple[str, ...], Sequence[int]]]:
    """Yield the flags that name the engine, and the pids of a cluster's workers."""
    if means != CLUSTER:
        yield ("--engine", "local" if means == LOCAL else "spark"), ()
        return
    cluster = up(ClusterOptions(workers=2))
    try:
        pids = [process.pid for process in cluster.processes if process.role == "worker"]
        yield ("--master", cluster.master), pids
    finally:
        down()


def _kill(kind: str, run: subprocess.Popen[str], workers: Sequence[int]) -> bool:
    """Kill the first of a kind that lives, waiting for one; tell whether one came before the run's end."""
    while run.poll() is None:
        with suppress(psutil.NoSuchProcess, IndexError):
            victims.living(kind, run.pid, workers)[0].kill()
            return True
        time.sleep(0.02)
    return False


def _where(case: Case) -> str:
    return f"{case.victim}, {case.means}"


def _table(found: Sequence[tuple[Case, str]], asked: argparse.Namespace) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in software_versions().items())
    told = [(_where(case), outcome) for case, outcome in found]
    rows = [
        f"| {where} | {' | '.join(str(told.count((where, outcome)) or '') for outcome in OUTCOMES)} |"
        for where in sorted({where for where, _ in told})
    ]
    return _WORDS.format(
        n_runs=len(found),
        n_photos=asked.photos,
        seed=asked.seed,
        flags=" with --resume" if asked.resume else "",
        date=time.strftime("%Y-%m-%d"),
        machine=f"{len(os.sched_getaffinity(0))} cores of {cpu_name()}; {versions}",
        head=f"| killed | {' | '.join(OUTCOMES)} |\n|---|{'---|' * len(OUTCOMES)}",
        rows="\n".join(rows),
    )


_WORDS = """# Runs with randomly killed processes

`make soak` starts `verger run` many times and kills one of its processes (SIGKILL) at a random moment. A run that fails
is started again immediately. The tables are compared with those of an undisturbed run, bit for bit. Half of the runs
replace an earlier result, which must stay unchanged until the new one is complete.

{n_runs} runs of {n_photos} photos, seed {seed}; failed runs were started again{flags}. {date}, {machine}.

{head}
{rows}

*ended before*: the run ended before the process could be killed. *went on*: the run succeeded without a rerun. The last
two columns must be empty.
"""


def _say(text: str) -> None:
    if text:
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
