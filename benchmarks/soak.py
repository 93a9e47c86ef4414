"""make soak: kill a process of a run at a random moment, and compare the result with that of an undisturbed run.

A run that fails is started again immediately. Prints the killed processes and the outcomes of the runs, and
writes the table to docs/soak.md.
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
# A slow network, so that the kill happens during the run.
FLAGS = ("--model", "MobileNetV2", "--weights", "random:0", "--components", "3", "--no-report", "--overwrite")
# The processes to kill, by the engine that runs the tasks.
LOCAL, SPARK, CLUSTER = "local engine", "local Spark", "cluster"
_OF_SPARK = (victims.DRIVER, victims.DRIVER_JVM, victims.PYTHON_WORKER)
VICTIMS: dict[str, tuple[str, ...]] = {
    LOCAL: (victims.DRIVER, victims.LOCAL_WORKER),
    SPARK: _OF_SPARK,
    CLUSTER: (*_OF_SPARK, victims.EXECUTOR, victims.WORKER),
}
RUN_TIMEOUT_S = 600

# Outcomes of a run, in the order of the table; the last two must not happen.
TOO_LATE, WENT_ON, RERUN, LOST, DIFFERS = "ended before", "went on", "rerun is whole", "old result lost", "differs"
OUTCOMES = (TOO_LATE, WENT_ON, RERUN, LOST, DIFFERS)


@dataclass(frozen=True)
class Baseline:
    """The photos, the result of an undisturbed run, and the seconds of one, by engine."""

    photos: Path
    undisturbed: Path
    durations_s: dict[str, float]
    rerun_flags: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """The process to kill, on which engine, and when (as a share of an undisturbed run's time)."""

    victim: str
    engine: str
    moment: float
    has_earlier: bool


def main() -> None:
    """Disturb runs, print the table; exit code 1 if a result was lost or differs."""
    arguments = _parse_arguments()
    with tempfile.TemporaryDirectory(prefix="verger-soak-") as name:
        os.environ["VERGER_STATE"] = f"{name}/state"  # a separate cluster
        baseline = _prepare(Path(name), arguments.photos, ("--resume",) if arguments.resume else ())
        outcomes: list[tuple[Case, str]] = []
        for case in _cases(arguments.runs, arguments.seed):
            outcomes.append((case, _disturb(case, baseline, Path(name) / "run")))
            _say(f"{len(outcomes):3d}  {_where(case)}, at {case.moment:.2f}: {outcomes[-1][1]}")
            RESULTS.write_text(_table(outcomes, arguments))  # each time: the soak itself may be interrupted
    print(RESULTS.read_text())
    sys.exit(any(outcome in (LOST, DIFFERS) for _, outcome in outcomes))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="start failed runs again with --resume")
    return parser.parse_args()


def _prepare(folder: Path, n_photos: int, rerun_flags: tuple[str, ...]) -> Baseline:
    photos = folder / "photos"
    sampled = verger("sample", photos, "--per-kind", n_photos // 10, cwd=folder)
    assert sampled.returncode == 0, sampled.stderr
    for i in range(5):
        (photos / f"broken-{i}.jpg").write_bytes(b"\xff\xd8\xff" * i)
    durations_s = {}
    for engine in VICTIMS:
        with _master(engine) as (flags, _):
            spent = manifest_of("run", photos, "undisturbed", *FLAGS, *flags, cwd=folder)["timings_s"]
        durations_s[engine] = spent["total"] - spent["convert"]  # the network is converted once
    return Baseline(photos, folder / "undisturbed", durations_s, rerun_flags)


def _cases(n_runs: int, seed: int) -> Iterator[Case]:
    """Yield random cases, with each kind of victim equally often."""
    chance = random.Random(seed)
    kinds = [(victim, engine) for engine, kinds_there in VICTIMS.items() for victim in kinds_there]
    for number in range(n_runs):
        if number % len(kinds) == 0:
            chance.shuffle(kinds)
        yield Case(*kinds[number % len(kinds)], chance.uniform(0.05, 0.95), chance.random() < 0.5)


def _disturb(case: Case, baseline: Baseline, folder: Path) -> str:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    out = folder / "out"
    if case.has_earlier:
        shutil.copytree(baseline.undisturbed, out)
        (out / "from-before").touch()
    before = files(out)
    with _master(case.engine) as (flags, workers):
        words = ("run", baseline.photos, "out", *FLAGS, *flags)
        run = start_verger(*words, cwd=folder)
        time.sleep(case.moment * baseline.durations_s[case.engine])
        is_killed = _kill(case.victim, run, workers)
        run.communicate(timeout=RUN_TIMEOUT_S)
        if run.returncode:
            if files(out) != before and not _is_whole(out, baseline):
                return LOST
            again = verger(*words, *baseline.rerun_flags, cwd=folder)
            _say(again.stderr if again.returncode else "")
    if not _is_whole(out, baseline):
        return DIFFERS
    return RERUN if run.returncode else WENT_ON if is_killed else TOO_LATE


def _is_whole(out: Path, baseline: Baseline) -> bool:
    """Return whether `out` is a new result that equals the undisturbed one."""
    is_new = (out / MANIFEST).exists() and not (out / "from-before").exists()
    return is_new and same_tables(out, baseline.undisturbed)


@contextmanager
def _master(engine: str) -> Iterator[tuple[tuple[str, ...], Sequence[int]]]:
    """Yield the flags that name the engine, and the pids of a cluster's workers."""
    if engine != CLUSTER:
        yield ("--engine", "local" if engine == LOCAL else "spark"), ()
        return
    cluster = up(ClusterOptions(workers=2))
    try:
        pids = [process.pid for process in cluster.processes if process.role == "worker"]
        yield ("--master", cluster.master), pids
    finally:
        down()


def _kill(kind: str, run: subprocess.Popen[str], workers: Sequence[int]) -> bool:
    """Wait for a process of a kind and kill it; return whether one was found before the run ended."""
    while run.poll() is None:
        with suppress(psutil.NoSuchProcess, IndexError):
            victims.living(kind, run.pid, workers)[0].kill()
            return True
        time.sleep(0.02)
    return False


def _where(case: Case) -> str:
    return f"{case.victim}, {case.engine}"


def _table(outcomes: Sequence[tuple[Case, str]], arguments: argparse.Namespace) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in software_versions().items())
    rows_of = [(_where(case), outcome) for case, outcome in outcomes]
    rows = [
        f"| {where} | {' | '.join(str(rows_of.count((where, outcome)) or '') for outcome in OUTCOMES)} |"
        for where in sorted({where for where, _ in rows_of})
    ]
    return _WORDS.format(
        n_runs=len(outcomes),
        n_photos=arguments.photos,
        seed=arguments.seed,
        flags=" with --resume" if arguments.resume else "",
        date=time.strftime("%Y-%m-%d"),
        machine=f"{len(os.sched_getaffinity(0))} cores of {cpu_name()}; {versions}",
        head=f"| killed | {' | '.join(OUTCOMES)} |\n|---|{'---|' * len(OUTCOMES)}",
        rows="\n".join(rows),
    )


_WORDS = """# Runs with randomly killed processes

`make soak` starts `verger run` many times and kills one of its processes (SIGKILL) at a random moment. A run
that fails is started again immediately. The tables are compared with those of an undisturbed run, bit for bit.
Half of the runs replace an earlier result, which must stay unchanged until the new one is complete.

{n_runs} runs of {n_photos} photos, seed {seed}; failed runs were started again{flags}. {date}, {machine}.

{head}
{rows}

*ended before*: the run ended before the process could be killed. *went on*: the run succeeded without a rerun.
The last two columns must be empty.
"""


def _say(text: str) -> None:
    if text:
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
