"""The examples of the README run, and the files and names that the documentation mentions exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from scripts.draw_layers import PICTURE, read_layers

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


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


# A file named in a text: tests/test_readme.py, infra/aws/roles.tf, or storage/uri.py (in src/verger).
NAMED_FILE = re.compile(r"(?<![\w./~-])((?:[\w.-]+/)+[\w-]+\.(?:py|md|tf|toml|csv|lock|ipynb|j2|dot|svg|yml))\b")
LINK = re.compile(r"\]\(([\w./-]+)(?:#[\w-]+)?\)")
PAGES = [
    page
    for pattern in ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "train/*.md")
    for page in sorted(ROOT.glob(pattern))
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    missing = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    folders = (page.parent, ROOT, ROOT / "src" / "verger")
    names = NAMED_FILE.findall(text)
    missing += [name for name in names if not any((folder / name).exists() for folder in folders)]
    assert not missing


# A row of CONTRIBUTING.md: | change | `file`, `file` | `name`, `name` |
CHANGE = re.compile(r"^\| [^|]+ \| (`[\w/.]+\.py`[^|]*) \| (`[^|]+`) \|$", re.MULTILINE)


def test_the_files_that_contributing_names_hold_the_names() -> None:
    rows = CHANGE.findall((ROOT / "CONTRIBUTING.md").read_text())
    assert len(rows) >= 25
    missing = []
    for files, names in rows:
        text = "".join((ROOT / "src" / "verger" / file).read_text() for file in re.findall(r"`([^`]+)`", files))
        defined = set(re.findall(r"^(?:def |class |)(\w+)", text, re.MULTILINE))
        missing += [f"{name}: {files}" for name in re.findall(r"`([^`]+)`", names) if name not in defined]
    assert not missing


def test_the_drawing_of_the_layers_shows_each_layer() -> None:
    drawing = PICTURE.read_text()
    assert all(f">{module}<" in drawing for layer in read_layers() for module in layer)
