"""verger with only its base dependencies (`requirements/run.lock`): no extra, no Java."""

from __future__ import annotations

import json
import os
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.support.chain import beside_progress, manifest_of, verger

LOCK = Path(__file__).parents[1] / "requirements" / "run.lock"

# Python imports a module of this name as it starts, in workers too. What is hidden is not found, as if it were not
# installed; who asks for it, and from where, is noted.
_SITE = """
import json, os, sys
from importlib.machinery import PathFinder

HIDDEN = frozenset(json.load(open(os.path.join(os.path.dirname(__file__), "hidden.json"))))
SEEN = os.path.join(os.path.dirname(__file__), "seen")

class Hiding:
    invalidate_caches = PathFinder.invalidate_caches

    @staticmethod
    def find_distributions(*wanted):  # of hidden modules there is no metadata either
        for found in PathFinder.find_distributions(*wanted):
            modules = (found.read_text("top_level.txt") or found.metadata["Name"]).split()
            if not HIDDEN.issuperset(modules):
                yield found

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] not in HIDDEN:
            return PathFinder.find_spec(name, path, target)
        frame = sys._getframe()
        while "importlib" in frame.f_code.co_filename or frame.f_code.co_filename == __file__:
            frame = frame.f_back
        is_worker = "verger.engine.local.worker" in sys.orig_argv
        with open(SEEN, "a") as file:
            print(json.dumps([name, frame.f_globals.get("__name__"), is_worker]), file=file)
        return None

sys.meta_path[sys.meta_path.index(PathFinder)] = Hiding
with open(SEEN, "a") as file:
    print(json.dumps(["", "started", "verger.engine.local.worker" in sys.orig_argv]), file=file)
"""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture
def base(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with the base dependencies, and without Java."""
    kept = {canonical(name) for name in re.findall(r"^([\w.-]+)==", LOCK.read_text(), re.MULTILINE)} | {"verger"}
    assert "numpy" in kept and "pyspark" not in kept
    installed = packages_distributions()
    hidden = {name for name, owners in installed.items() if not kept & set(map(canonical, owners))}
    hidden -= {name for name in hidden if name.startswith("_virtualenv")}
    assert {"pyspark", "pandas", "sklearn", "scipy", "boto3"} <= hidden
    site = tmp_path / "site"
    site.mkdir()
    (site / "hidden.json").write_text(json.dumps(sorted(hidden)))
    (site / "sitecustomize.py").write_text(_SITE)
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, "JAVA_HOME": "/nowhere", "PATH": str(Path(sys.executable).parent)}


def seen(tmp_path: Path) -> list[tuple[str, str, bool]]:
    """Return (hidden module, who asked for it, whether that was in a worker).

    verger.photo_names is left out: it only looks whether the extra for HEIC is installed.
    """
    asked = [tuple(json.loads(line)) for line in (tmp_path / "site" / "seen").read_text().splitlines()]
    return [entry for entry in asked if entry[:2] != ("_pi_heif", "verger.photo_names")]


def test_the_chain_needs_no_extra_and_no_java(
    base: dict[str, str], photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    flags = ("--model", tiny_model, "--components", 2, "--export", "csv,json")
    manifest = manifest_of("run", photos, "out", *flags, cwd=tmp_path, **base)
    assert manifest["settings"]["engine"] == "local" and manifest["counts"]["features"] == 12
    assert (tmp_path / "out" / "report.html").is_file()
    asked = seen(tmp_path)
    assert {is_worker for _, who, is_worker in asked if who == "started"} == {True, False}
    assert not {(name, who) for name, who, _ in asked if who.startswith("verger")}, "none is asked for by verger"
    assert not {name for name, _, _ in asked} & {"pyspark", "sklearn", "boto3"}


def test_photos_are_named_without_any_extra(base: dict[str, str], photos: Path, tmp_path: Path) -> None:
    done = verger("predict", photos / "apple" / "1.png", cwd=tmp_path, **base)
    assert done.returncode == 0, done.stderr
    assert not {name for name, who, _ in seen(tmp_path) if who.startswith("verger")}


@pytest.mark.parametrize("flags", [("--engine", "spark"), ("--master", "local[2]")], ids=["engine", "master"])
def test_spark_that_is_not_there_is_asked_for(
    flags: tuple[str, ...], base: dict[str, str], photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    done = verger("run", photos, "out", "--model", tiny_model, *flags, cwd=tmp_path, **base)
    assert done.returncode == 1
    (line,) = beside_progress(done.stderr)
    assert line.startswith("error: ") and "pip install 'verger[spark]'" in line
    assert not (tmp_path / "out").exists() and not (tmp_path / ".out.verger-staging").exists()


@pytest.mark.parametrize("command", ["doctor", "warm-up", "models"])
def test_commands_about_the_machine_need_no_extra(command: str, base: dict[str, str], tmp_path: Path) -> None:
    done = verger(command, cwd=tmp_path, **base)
    assert done.returncode == 0, done.stdout + done.stderr


def test_training_says_which_extra_it_needs(base: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "manifest.json").write_text('{"network": {"spec": {"model": "fruitnet"}}}')
    done = verger("train", "result", "out", cwd=tmp_path, **base)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: training on this machine needs scikit-learn: pip install 'verger[learn]'"
    ]
