"""What the README says, runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.core
def test_the_library_example_runs(
    spark: SparkSession,
    photos: Path,
    tiny_model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (example,) = re.findall(r"<!-- run by tests/test_readme.py -->\n```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "photos").symlink_to(photos)
    monkeypatch.chdir(tmp_path)
    # The same lines on a network that needs no download.
    names: dict[str, object] = {}
    exec(example.replace('"MobileNetV2"', repr(tiny_model)), names)
    assert "components" in capsys.readouterr().out
    table = names["components"]
    assert table.count() == 15  # type: ignore[attr-defined]


def test_the_chain_runs_from_python(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"<!-- also run by tests/test_readme.py -->\n```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "photos").symlink_to(photos)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERGER_ENGINE", "local")  # another test's Spark may run in this process
    exec(example, {})
    assert capsys.readouterr().out == "12\n"
    assert (tmp_path / "out" / "report.html").is_file()


def test_every_command_it_shows_exists() -> None:
    from verger.cli import app

    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    known |= {str(group.name) for group in app.registered_groups}
    shown = set(re.findall(r"^verger ([a-z-]+)", README, re.MULTILINE))
    assert {"run", "features", "reduce", "models", "doctor"} <= shown
    assert shown <= known


def test_every_test_and_file_it_names_exists() -> None:
    root = Path(__file__).parents[1]
    for name in re.findall(r"`(tests/[\w/.]+|\.ci/run)`|\]\(([\w/.-]+)\)", README):
        assert (root / (name[0] or name[1])).exists(), name
