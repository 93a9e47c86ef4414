from __future__ import annotations

from pathlib import Path

import pytest

from verger.errors import SettingsError
from verger.settings import load_settings, origins


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_flags_beat_the_environment_which_beats_the_file_which_beats_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("verger.toml").write_text('model = "VGG16"\npooling = "max"\nlimit = 5\nglob = ["*.jpg"]\n')
    monkeypatch.setenv("VERGER_POOLING", "flatten")
    monkeypatch.setenv("VERGER_LIMIT", "6")
    flags = {"limit": "7", "weights": None}
    settings = load_settings(**flags)
    assert (settings.model, settings.pooling, settings.limit, settings.glob) == ("VGG16", "flatten", 7, ("*.jpg",))
    assert settings.precision == "f32"
    sources = origins(**flags)
    assert [sources[k] for k in ("limit", "pooling", "model", "weights")] == [
        "flag",
        "environment",
        "verger.toml",
        "default",
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"sample": "5%"}, {"sample": 0.05}),
        ({"max_rejected": "0.2"}, {"max_rejected": 0.2}),
        ({"export": "csv, json"}, {"export": ("csv", "json")}),
        ({"conf": "spark.jars=a.jar,b.jar, x=1"}, {"conf": ("spark.jars=a.jar,b.jar", "x=1")}),
        ({"components": "12"}, {"components": 12, "variance_kept": None}),
        ({}, {"variance_kept": 0.9}),
        ({"max_megapixels": "2.5"}, {"max_pixels": 2_500_000}),
    ],
)
def test_values_as_people_write_them(given: dict[str, str], expected: dict[str, object]) -> None:
    settings = load_settings(**given)
    assert {key: getattr(settings, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("pooling", "mean", "'avg', 'max' or 'flatten'"),
        ("limit", "0", "greater than or equal to 1"),
        ("sample", "150%", "less than or equal to 1"),
        ("sample", "many", "number"),
        ("label", "regex:no group", "regex:PATTERN with one group"),
        ("label", "regex:((", "regex:PATTERN with one group"),
        ("label", "folder", "parent, none"),
        ("export", "xlsx", "csv, json"),
        ("conf", "spark.ui", "key=value"),
        ("variance", "0", "greater than 0"),
    ],
)
def test_a_bad_value_names_key_value_and_what_is_valid(key: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(**{key: value})
    assert str(caught.value).startswith(f"{key} = ")
    assert words in str(caught.value)


def test_components_and_variance_exclude_each_other() -> None:
    with pytest.raises(SettingsError, match="components or variance"):
        load_settings(components="3", variance="0.9")


def test_a_misspelt_key_in_the_file_lists_the_valid_ones() -> None:
    Path("verger.toml").write_text('modle = "VGG16"\n')
    with pytest.raises(SettingsError, match=r"modle.*model"):
        load_settings()


@pytest.mark.parametrize("key", ["modle", "max_megapixel", "exprot"])
def test_the_nearest_setting_is_named(key: str) -> None:
    nearest = {"modle": "model", "max_megapixel": "max_megapixels", "exprot": "export"}[key]
    Path("verger.toml").write_text(f'{key} = "x"\n')
    with pytest.raises(SettingsError, match=rf"did you mean {nearest}\?\) \(set by verger\.toml\)"):
        load_settings()
    with pytest.raises(SettingsError, match=rf"did you mean {nearest}\?\)$"):
        load_settings(**{key: "x"})


def test_a_bad_value_names_the_variable_or_the_file_that_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("verger.toml").write_text("limit = 0\n")
    with pytest.raises(SettingsError, match=r"limit = 0 .*\(set by verger\.toml\)$"):
        load_settings()
    monkeypatch.setenv("VERGER_LIMIT", "-1")
    with pytest.raises(SettingsError, match=r"limit = '-1' .*\(set by VERGER_LIMIT\)$"):
        load_settings()
    with pytest.raises(SettingsError, match=r"limit = '-2' .* 1$"):
        load_settings(limit="-2")


def test_a_settings_file_that_cannot_be_read_is_named() -> None:
    Path("verger.toml").write_bytes(b'model = "\xff"\n')
    with pytest.raises(SettingsError, match=r"'verger\.toml' is not valid: .* byte 0xff"):
        load_settings()
    Path("verger.toml").unlink()
    Path("verger.toml").mkdir()
    with pytest.raises(SettingsError, match=r"'verger\.toml' is not valid: .*it is a folder"):
        load_settings()
