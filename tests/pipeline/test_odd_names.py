"""The chain with names that look like globs or URIs, or that are not UTF-8, as folders of sources and results."""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.chain import manifest_here
from tests.support.folders import refuse_listing
from verger.errors import SettingsError
from verger.sources.partitions import Selection, list_photo_files
from verger.storage.table_files import parquet_files
from verger.storage.uri import read_parquet

NAMES = (
    "out [v1]",
    "out{a,b}",
    "out*",
    "out\\x",
    "r\u00e9sultats",
    "a:b",
    "caf\udce9",
    " blank ",
    "new\nline",
    "%20",
)


@pytest.fixture
def place(tmp_path: Path, photos: Path) -> Path:
    """A working folder whose name looks like a glob, beside one that this glob would match."""
    for name in ("exp[3]", "exp3"):
        (tmp_path / name).mkdir()
    shutil.copytree(photos, tmp_path / "exp[3]" / "photos")
    return tmp_path / "exp[3]"


@pytest.mark.parametrize("name", NAMES)
def test_a_result_may_have_any_name(place: Path, tiny_model: str, name: str) -> None:
    check_chain(place, tiny_model, name, "local")


def test_a_source_may_begin_with_two_slashes(place: Path, tiny_model: str) -> None:
    flags = ("--model", tiny_model, "--no-report", "--components", 2, "--label", f"csv:{place}/labels.csv")
    lines = [f"/{path},fruit\n" for path in (place / "photos").rglob("*.*")]
    (place / "labels.csv").write_text("path,label\n" + "".join(lines))
    made = manifest_here("run", f"/{place}/photos", "out", *flags, cwd=place)
    assert made["counts"]["features"] == 12
    listed = parquet_files(place / "out" / "listing")
    rows = [row for file in listed for row in read_parquet(file).to_pylist()]
    assert all(row["path"].startswith(f"file:{place}/") and row["label"] == "fruit" for row in rows)


@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize("name", ["out [v1]", "caf\udce9"])
def test_a_result_of_spark_may_have_any_name(place: Path, tiny_model: str, name: str) -> None:
    check_chain(place, tiny_model, name, "spark")


def check_chain(place: Path, tiny_model: str, name: str, engine: str) -> None:
    """Run all commands of the chain with this name as OUT, then with a result of this name as their source."""
    flags = ("--model", tiny_model, "--no-report", "--components", 2)
    made = manifest_here("run", "photos", name, *flags, "--export", "csv", cwd=place, engine=engine)
    assert made["counts"]["features"] == 12
    again = manifest_here("run", "photos", name, *flags, "--resume", cwd=place, engine=engine)
    assert (again["counts"]["computed"], again["counts"]["reused"]) == (0, 12)
    reduced = manifest_here("reduce", name, f"{name}2", "--no-report", "--components", 2, cwd=place, engine=engine)
    assert reduced["reduction"]["n_components"] == 2
    assert components(place / f"{name}2") == components(place / name)
    trained = manifest_here("train", name, f"{name}3", "--folds", 2, cwd=place, engine=engine)
    assert trained["command"] == "train"
    judged = manifest_here("evaluate", name, f"{name}4", "--classifier", f"{name}3", cwd=place)
    assert judged["evaluation"]["n_photos"] == 12
    packed = manifest_here("pack", "photos", f"{name}5", cwd=place, engine=engine)
    unpacked = manifest_here("run", f"{name}5", f"{name}6", *flags, cwd=place, engine=engine)
    assert packed["counts"]["listed"] == unpacked["counts"]["listed"] == made["counts"]["listed"]
    assert {path.name for path in place.iterdir()} == {
        "photos",
        name,
        *(f"{name}{number}" for number in range(2, 7)),
    }


def components(result: Path) -> list[dict[str, object]]:
    tables = [read_parquet(file) for file in parquet_files(result / "components")]  # pyarrow opens no such names
    return sorted((row for table in tables for row in table.to_pylist()), key=lambda row: str(row["path"]))


@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize("engine", ["local", "spark"])
@pytest.mark.parametrize("name", ["res[1]", "p\udceache", "a:b", "file:x", "~x", "%20", "new\nline", "back\\slash"])
def test_photos_may_have_any_name(tmp_path: Path, photos: Path, tiny_model: str, name: str, engine: str) -> None:
    shutil.copytree(photos / "apple", tmp_path / name / "a")
    shutil.copytree(photos / "kiwi", tmp_path / "res1" / "a")
    (tmp_path / name / "a" / f"{name}.png").symlink_to("1.png")
    flags = ("--model", tiny_model, "--no-report", "--components", 2)
    manifest = manifest_here("run", name, "out", *flags, cwd=tmp_path, engine=engine)
    assert (manifest["counts"]["listed"], manifest["counts"]["rejected"]) == (5, 0)
    stored = os.fsencode(name).decode("utf-8", "backslashreplace")
    paths = pq.read_table(tmp_path / "out" / "features", columns=["path"])["path"].to_pylist()
    assert f"file:{tmp_path}/{stored}/a/{stored}.png" in paths


def test_labels_of_names_that_are_not_utf8_can_be_given_by_a_table(tmp_path: Path, photos: Path) -> None:
    shutil.copytree(photos / "apple", tmp_path / "p\udceache" / "a")
    (tmp_path / "labels.csv").write_text("path,label\np\\xeache/a/1.png,Peach\n")
    listing = list_photo_files(
        str(tmp_path / "p\udceache"), Selection(label=f"csv:{tmp_path}/labels.csv"), tmp_path / "listing"
    )
    rows = pq.read_table(listing.folder).to_pylist()
    assert Counter(row["label"] for row in rows) == {"Peach": 1, None: 3}


def test_packed_photos_of_any_name_are_taken_and_others_counted(
    tmp_path: Path, photos: Path, tiny_model: str
) -> None:
    shutil.copytree(photos / "apple", tmp_path / "in" / "a")
    (tmp_path / "in" / "a" / "1.png").rename(tmp_path / "in" / "a" / "1.dat")
    flags = ("--model", tiny_model, "--no-report", "--components", 2)
    assert manifest_here("pack", "in", "packed", "--glob", "*", cwd=tmp_path)["counts"]["listed"] == 4
    assert manifest_here("run", "packed", "all", *flags, cwd=tmp_path)["counts"]["features"] == 4
    some = manifest_here("run", "packed", "some", *flags, "--glob", "*.png,*.jpg", cwd=tmp_path)
    assert some["counts"]["features"] == 3 and some["skipped_files"] == {".dat": 1}


def test_prune_removes_no_photos_of_a_folder_that_cannot_be_listed(
    tmp_path: Path, photos: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--model", tiny_model, "--no-report", "--components", 2)
    manifest_here("run", photos, "out", *flags, cwd=tmp_path)
    refuse_listing(monkeypatch, "kiwi", errno.EACCES)
    with pytest.raises(SettingsError, match=r"prune = True .*kiwi"):
        manifest_here("run", photos, "out", *flags, "--resume", "--prune", cwd=tmp_path)
    kept = manifest_here("run", photos, "out", *flags, "--resume", cwd=tmp_path)
    assert kept["counts"]["features"] == 12
