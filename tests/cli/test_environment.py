"""Commands in odd environments: modules in the working folder, other users, encodings, misspelt variables."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.chain import VERGER, Done, beside_progress, manifest_of, table, verger

SPARK = pytest.param("spark", marks=pytest.mark.slow)
HOSTILE = ("random", "numpy", "socket", "types", "json", "pyarrow", "pyspark", "sitecustomize", "usercustomize")
STRANGER = 54321  # a uid without an entry in /etc/passwd


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A working folder whose modules leave the file `touched` when any Python imports them."""
    folder = tmp_path / "hostile"
    for package in ("verger", "openvino"):
        (folder / package).mkdir(parents=True)
    files = [folder / f"{name}.py" for name in HOSTILE] + [folder / "verger" / "__init__.py"]
    for file in (*files, folder / "openvino" / "__init__.py"):
        file.write_text(f"open({str(tmp_path / 'touched')!r}, 'a')\nraise SystemExit('a file of the user')\n")
    return folder


@pytest.mark.parametrize("engine", ["local", SPARK])
def test_modules_in_the_working_folder_have_no_effect(
    engine: str, hostile: Path, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    words = ("--model", tiny_model, "--components", 2, "--no-report", "--engine", engine)
    manifest = manifest_of("run", photos, "out", *words, cwd=hostile)
    assert manifest["counts"]["features"] == 12
    assert not (tmp_path / "touched").exists()


@pytest.mark.slow
def test_they_have_no_effect_on_a_conversion(hostile: Path, photos: Path, tmp_path: Path) -> None:
    words = ("--model", "MobileNetV3Small", "--weights", "random:1", "--no-report", "--limit", 2)
    manifest_of("features", photos, "out", *words, cwd=hostile, VERGER_CACHE=str(tmp_path / "cache"))
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"VERGER_MODLE": "VGG16"}, ("VERGER_MODLE", "did you mean VERGER_MODEL?")),
        ({"VERGER_CAHCE": "x"}, ("VERGER_CAHCE", "did you mean VERGER_CACHE?")),
        ({"VERGER_QQQQ": "x"}, ("VERGER_QQQQ", "--show-settings")),
        ({"VERGER_SECRETS": "/run/secrets"}, ()),
        ({"VERGER_SERVICE_HOST": "10.0.0.1", "VERGER_PORT_80_TCP": "tcp://x", "VERGER_PORT": "tcp://x"}, ()),
    ],
)
def test_a_misspelt_variable_is_reported_with_the_nearest_one(
    variables: dict[str, str], words: tuple[str, ...], tmp_path: Path
) -> None:
    done = verger("version", cwd=tmp_path, **variables)
    assert done.returncode == 0 and done.stdout.strip()
    lines = done.stderr.splitlines()
    assert len(lines) == bool(words) and all(word in done.stderr for word in words)


def test_a_removed_working_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    script = 'cd gone && rmdir ../gone && exec "$@"'
    command = ["sh", "-c", script, "sh", *VERGER, "version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "working folder" in done.stderr and "Traceback" not in done.stderr


ENCODINGS = [
    pytest.param({"PYTHONIOENCODING": "ascii"}, marks=pytest.mark.slow),
    pytest.param({"LC_ALL": "C"}, marks=pytest.mark.slow),
    pytest.param({"LC_ALL": "POSIX", "PYTHONUTF8": "0"}, marks=pytest.mark.slow),
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_other_encodings_neither_change_names_nor_stop_a_command(
    encoding: dict[str, str], photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    (tmp_path / "früchte").symlink_to(photos)
    words = ("--model", tiny_model, "--components", 2, "--overwrite")
    done = in_bytes("run", "früchte", "résultats", *words, cwd=tmp_path, **encoding)
    assert done.returncode == 0 and "sultats/features" in done.stdout, done.stderr
    found = table(tmp_path / "résultats" / "features")["path"].to_pylist()
    assert all(f"file:{tmp_path}/früchte/" in path for path in found)
    done = in_bytes("features", "früchte", "out", "--model", tiny_model, "--json", cwd=tmp_path, **encoding)
    assert json.loads(done.stdout)["source"] == "früchte"
    absent = in_bytes("run", "pêches", "out", *words, cwd=tmp_path, **encoding)
    assert absent.returncode == 1 and "ches: no such folder" in absent.stderr and "Traceback" not in absent.stderr


def test_names_that_are_not_utf8_are_printed_escaped(photos: Path, tiny_model: str, tmp_path: Path) -> None:
    out, classifier = os.fsdecode(b"r\xe9sultats"), os.fsdecode(b"cl\xe9")
    words = ("--model", tiny_model, "--components", 2, "--export", "csv,json", "--overwrite")
    done = in_bytes("run", photos, out, *words, cwd=tmp_path)
    assert done.returncode == 0 and "r\\udce9sultats/report.html" in done.stdout, done.stderr
    assert (tmp_path / out / "components.csv").exists()
    for command in (
        ("run", photos, out, *words, "--resume"),
        ("train", out, classifier),
        ("evaluate", out, "evaluation", "--classifier", classifier),
        ("reduce", out, "again"),
        ("pack", photos, os.fsdecode(b"p\xe9ck")),
    ):
        done = in_bytes(*command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    absent = in_bytes("run", os.fsdecode(b"p\xeaches"), "out", "--json", cwd=tmp_path)
    assert absent.returncode == 1 and "p\\udceaches" in absent.stderr and "Traceback" not in absent.stderr


def in_bytes(*words: object, cwd: Path, **environment: str) -> Done:
    """Run a command and decode its output with escapes, whatever its encoding is."""
    command = [*VERGER, *map(str, words)]
    done = subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, check=False)
    out, err = (stream.decode("utf-8", "backslashreplace") for stream in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(command, done.returncode, out, err)


@pytest.fixture
def by_a_stranger(photos: Path, tiny_model: str, tmp_path: Path) -> Path:
    """A folder with photos and a model for a user without a name or a home."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    folder = tmp_path / "shared"
    shutil.copytree(photos, folder / "photos")
    shutil.copy(tiny_model, folder / "tiny.onnx")
    for path in (folder, *folder.rglob("*")):
        os.chmod(path, 0o777)
    return folder


def as_stranger(*words: object, cwd: Path, **environment: str) -> Done:
    """Run a command as a user without an entry in /etc/passwd, who may read every file but not write."""
    user = ("setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups")
    may_read = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    hidden = ("HOME", "XDG_CACHE_HOME", "VERGER_CACHE", "KERAS_HOME")
    env = {name: value for name, value in os.environ.items() if name not in hidden} | environment
    command = [*user, *may_read, "--", *VERGER, *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("home", [None, "/", "/nonexistent", "/root"])
def test_a_user_without_name_and_home_can_run_it(home: str | None, by_a_stranger: Path) -> None:
    temporary = by_a_stranger / "tmp"
    temporary.mkdir(mode=0o777)
    os.chmod(temporary, 0o777)
    variables = {"TMPDIR": str(temporary)} | ({} if home is None else {"HOME": home})
    words = ("--model", "tiny.onnx", "--components", 2, "--no-report")
    done = as_stranger("run", "photos", "out", *words, cwd=by_a_stranger, **variables)
    assert done.returncode == 0, done.stderr
    (own,) = temporary.iterdir()
    assert own.name == f"verger-{STRANGER}" and own.stat().st_mode & 0o777 == 0o700
    named = as_stranger("predict", "photos/kiwi/1.png", cwd=by_a_stranger, **variables)
    assert named.returncode == 0, named.stderr


def test_spark_names_the_missing_entry_of_the_user(by_a_stranger: Path) -> None:
    words = ("--model", "tiny.onnx", "--engine", "spark", "--no-report")
    done = as_stranger("run", "photos", "out", *words, cwd=by_a_stranger, TMPDIR=str(by_a_stranger))
    assert done.returncode == 1
    assert f"uid {STRANGER} has no entry in /etc/passwd" in beside_progress(done.stderr)[0]


@pytest.mark.slow
def test_a_host_name_that_does_not_resolve_is_no_trouble(photos: Path, tiny_model: str, tmp_path: Path) -> None:
    own_name = ("unshare", "--uts", "sh", "-c", 'hostname nowhere.invalid && exec "$@"', "sh")
    if shutil.which("unshare") is None or subprocess.run([*own_name, "true"], check=False).returncode:
        pytest.skip("needs root and unshare")
    for engine in ("local", "spark"):
        words = ("run", photos, engine, "--model", tiny_model, "--components", 2, "--engine", engine, "--no-report")
        command = [*own_name, *VERGER, *map(str, words)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_a_cache_that_cannot_be_written_names_the_variable(by_a_stranger: Path) -> None:
    words = ("run", "photos", "out", "--model", "tiny.onnx")
    done = as_stranger(*words, cwd=by_a_stranger, TMPDIR=str(by_a_stranger), VERGER_CACHE="/root/cache")
    assert done.returncode == 1
    (line,) = beside_progress(done.stderr)
    assert line == "error: /root/cache: Permission denied; set VERGER_CACHE to a folder that you can write to"


@pytest.mark.parametrize("engine", ["local", SPARK])
@pytest.mark.parametrize("name", ["with a blank", "größe é 果"])
def test_a_cache_may_have_any_name(name: str, engine: str, photos: Path, tiny_model: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    words = ("run", photos, folder / "out", "--model", tiny_model, "--components", 2, "--engine", engine)
    variables = {"VERGER_CACHE": str(folder), "TMPDIR": str(folder), "HOME": str(folder), "LC_ALL": "C"}
    assert manifest_of(*words, "--no-report", cwd=tmp_path, **variables)["counts"]["features"] == 12
    assert (folder / "out" / "manifest.json").is_file()


@pytest.mark.parametrize(
    "text", ["raise ImportError('of another Python')", "def broken(:", "x = 1", "raise AttributeError('no C API')"]
)
def test_a_library_on_pythonpath_that_does_not_fit_is_named(
    text: str, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    (tmp_path / "site" / "numpy").mkdir(parents=True)
    (tmp_path / "site" / "numpy" / "__init__.py").write_text(text)
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(tmp_path / "site")]))
    for words in (("run", photos, "out", "--model", tiny_model), ("evaluate", "features", "out")):
        done = verger(*words, cwd=tmp_path, PYTHONPATH=path)
        assert done.returncode == 1
        (line,) = beside_progress(done.stderr)
        assert line.startswith(f"error: PYTHONPATH = '{tmp_path}/site' holds a module that verger cannot use: ")
        assert line.endswith("unset PYTHONPATH")


def test_an_unexpected_error_is_one_line_and_keeps_its_traceback(tmp_path: Path) -> None:
    script = (
        "import verger.cli.machine_check as m; m.check_machine = lambda: {}['nothing']\n"
        "import sys; sys.argv = ['verger', 'doctor']; from verger.cli import main; main()"
    )
    env = os.environ | {"VERGER_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: unexpected KeyError: 'nothing'; please report it with ")
    assert "Traceback" in Path(line.rpartition(" ")[2]).read_text()
