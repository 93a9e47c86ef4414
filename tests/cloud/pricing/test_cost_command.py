"""`verger cost`, as people type it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from tests.support.chain import verger
from verger.cli import app
from verger.cli.speed_measurement import RunTime, photos_per_s
from verger.cloud.pricing.calibration import load_calibration
from verger.cloud.pricing.prices import BUNDLED
from verger.errors import SettingsError
from verger.process.progress import SilentProgress
from verger.sample import SampleOptions, render_sample

SVG = "{http://www.w3.org/2000/svg}"
FIRST_TRY = "--photos 22688 --shape 2xm5.xlarge --standing-h 2 --max-eur 10"


def cost(*words: str) -> Result:
    return CliRunner().invoke(app, ["cost", *words], terminal_width=120)


def found(*words: str) -> Any:
    done = cost(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_help_has_the_first_try_as_its_example() -> None:
    shown = " ".join(cost("--help").output.split())
    assert f"verger cost {FIRST_TRY}" in shown


def test_the_first_try_of_the_help_is_within_its_budget() -> None:
    done = cost(*FIRST_TRY.split())
    assert done.exit_code == 0, done.output
    assert "22,688 photos of 4.7 kB" in done.stdout
    assert "EUR; the result is ready after" in done.stdout


def test_json_holds_the_ranges_and_the_lines_that_make_them() -> None:
    output = found("--photos", "1e6", "--region", "eu-west-1", "--shape", "1..4xm5.xlarge")
    assert output["photos"]["count"] == 1_000_000
    assert output["deployment"]["shape"] == {
        "workers": 1,
        "machine": "m5.xlarge",
        "primary": "m5.xlarge",
        "max_workers": 4,
        "spot": True,
    }
    assert output["eur"]["low"] < output["eur"]["typical"] < output["eur"]["high"]
    assert 0.86 * sum(line["usd"] for line in output["lines"]) == pytest.approx(output["eur"]["typical"])


def test_each_cloud_has_a_region_an_engine_and_a_shape_by_default() -> None:
    engines = {
        name: found("--photos", "9", "--provider", name)["deployment"] for name in ("aws", "gcp", "databricks")
    }
    assert {name: (made["region"], made["engine"]) for name, made in engines.items()} == {
        "aws": ("eu-west-3", "emr"),
        "gcp": ("europe-west9", "dataproc"),
        "databricks": ("eu-west-3", "job"),
    }


def test_engines_are_compared_cheapest_first() -> None:
    output = found("--photos", "1e6", "--compare")
    assert len({(each["deployment"]["provider"], each["deployment"]["engine"]) for each in output}) == 5
    assert output == sorted(output, key=lambda each: each["eur"]["typical"])
    assert "dataproc" in cost("--photos", "1e6", "--compare").stdout


def test_the_comparison_is_drawn_in_its_order(tmp_path: Path) -> None:
    output = found("--photos", "1e6", "--plot", str(tmp_path / "clouds.svg"))
    drawn = ElementTree.parse(tmp_path / "clouds.svg").getroot()
    rows = drawn.findall(f"{SVG}g")
    labels = [row.findtext(f"{SVG}text") or "" for row in rows]
    assert [label.split(",")[0] for label in labels] == [
        f"{each['deployment']['provider']} {each['deployment']['engine']}" for each in output
    ]
    for row in rows:
        bar, dot = row.find(f"{SVG}line"), row.find(f"{SVG}circle")
        assert bar is not None and dot is not None
        assert float(bar.attrib["x1"]) <= float(dot.attrib["cx"]) <= float(bar.attrib["x2"]) <= 760


def test_a_table_without_spot_prices_compares_what_needs_none(tmp_path: Path) -> None:
    text = BUNDLED.read_text()
    begin, end = text.index("[spot.aws]"), text.index("[spot.gcp]")
    (tmp_path / "mine.toml").write_text(text[:begin] + text[end:])
    output = found(
        "--photos", "1e6", "--compare", "--shape", "4xm5.xlarge", "--prices", str(tmp_path / "mine.toml")
    )
    grown = {each["deployment"]["engine"] for each in output if each["deployment"]["shape"]["max_workers"]}
    assert grown == {"dataproc"}
    assert "emr" in {each["deployment"]["engine"] for each in output}


def test_packed_photos_take_fewer_requests() -> None:
    loose, packed = found("--photos", "1e6"), found("--photos", "1e6", "--packed")
    assert packed["eur"]["typical"] < loose["eur"]["typical"]


@pytest.mark.cloud
def test_what_may_cost_more_ends_with_1_and_says_what_would_fit() -> None:
    done = verger("cost", "--photos", "1e8", "--max-eur", "10", cwd=Path.cwd())
    assert done.returncode == 1
    assert "100,000,000 photos may cost up to" in done.stderr
    assert "this limit is enough for" in done.stderr


def test_the_prices_are_shown_with_their_sources() -> None:
    shown = cost("--show-prices").output
    for words in ("recalled", "derived", "verified", "emr-serverless", "PerfKitBenchmarker"):
        assert words in shown


def test_an_old_table_is_read_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "old.toml").write_text(BUNDLED.read_text().replace("read = 2026-11-22", "read = 2020-01-01"))
    done = cost("--photos", "5", "--prices", str(tmp_path / "old.toml"))
    assert done.exit_code == 0
    assert "days old (2020-01-01)" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("words", "output"),
    [
        ("--photos many", "photos = 'many'"),
        ("--photos 0", "photos = '0'"),
        ("", "photos = None"),
        ("--photos inf", "photos = 'inf'"),
        ("--photos 5 --mean-kb inf", "mean_kb = inf"),
        ("--photos 5 --shape 4", "shape = '4'"),
        ("--photos 5 --provider azure", "provider = 'azure'"),
        ("--photos 5 --engine dataproc", "engine = 'dataproc'"),
        ("--photos 5 --model VGG16", "model = 'VGG16' .* --calibrate SRC"),
    ],
)
def test_what_is_wrong_is_named(words: str, output: str) -> None:
    with pytest.raises(SettingsError, match=output):
        CliRunner().invoke(app, ["cost", *words.split()], catch_exceptions=False)


def test_a_calibration_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"model": "mine", "photos_per_core_s": -1}')
    with pytest.raises(SettingsError, match=r"mine\.json: photos_per_core_s = -1"):
        load_calibration(tmp_path / "mine.json")


def test_two_runs_give_a_speed_without_the_start() -> None:
    output = Told()
    # 3 s of start each; 300 photos more took 2 s more.
    assert photos_per_s(RunTime(100, 3.5), RunTime(400, 5.5), output) == 150
    assert output.notes == []


@pytest.mark.parametrize("few", [RunTime(20, 1.9), RunTime(20, 2.5), RunTime(40, 2.0)])
def test_runs_that_hardly_differ_give_a_low_speed_and_a_note(few: RunTime) -> None:
    output = Told()
    assert photos_per_s(few, RunTime(40, 2.0), output) == 20
    assert output.notes == ["too few photos to separate the work from the start-up: the measured speed is too low"]


class Told(SilentProgress):
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, words: str) -> None:
        self.notes.append(words)


@pytest.mark.cloud
def test_a_calibration_is_measured_on_ones_own_photos_and_taken_again(tmp_path: Path) -> None:
    render_sample(tmp_path / "photos", SampleOptions(per_kind=8))
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no photo")
    words = ("cost", "--photos", "1e6", "--model", "fruitnet", "--calibration", "mine.json", "--json")
    done = verger(*words, "--calibrate", "photos", "--limit", 160, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    measured = load_calibration(tmp_path / "mine.json")
    assert (measured.model, measured.n_features) == ("fruitnet", 1280)
    sizes = [path.stat().st_size for path in (tmp_path / "photos").rglob("*.jpg")]
    assert min(sizes) < measured.mean_bytes < max(sizes)
    assert json.loads(done.stdout)["photos"]["mean_bytes"] == measured.mean_bytes
    again = verger(*words, cwd=tmp_path)
    assert json.loads(again.stdout) == json.loads(done.stdout)
