"""Trees of files with any names and of any kind: each file is listed once, or counted with a reason."""

from __future__ import annotations

import csv
import os
import shutil
import unicodedata
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import trees
from tests.support.trees import CONTENTS, Item, items, make, stems, usable
from verger.errors import DecodeError, SourceError
from verger.photo_names import PHOTO_GLOBS
from verger.sources.content import read_photo
from verger.sources.partitions import Listing, Selection, list_photo_files
from verger.sources.walk import is_hidden


def listed_rows(source: Path, root: Path, label: str = "parent") -> tuple[Listing | None, list[dict[str, object]]]:
    try:
        listing = list_photo_files(str(source), Selection(label=label), root / "listing")
    except SourceError as error:
        if "no photos" not in str(error):
            raise
        return None, []
    return listing, pq.read_table(listing.folder).to_pylist()


def stored(path: str) -> str:
    """Return a path as the tables hold it."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_photo_name(name: str) -> bool:
    return name.lower().endswith(tuple(glob[1:] for glob in PHOTO_GLOBS))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=items, name=stems.filter(usable))
def test_every_file_is_listed_once_or_counted(tmp_path: Path, items: list[Item], name: str) -> None:
    root = tmp_path / "case"
    shutil.rmtree(root, ignore_errors=True)
    source = root / name
    source.mkdir(parents=True)
    made = make(source, items)

    listing, rows = listed_rows(source, root)

    paths = Counter(str(row["path"]).removeprefix(f"file:{stored(str(source))}/") for row in rows)
    visible = [path for path in made if not any(map(is_hidden, path.split("/")))]
    expected = {stored(path) for path in visible if is_photo_name(path.rpartition("/")[2])}
    loops = {stored(path) for path in visible if os.path.islink(source / path) and is_loop(source / path)}
    folder_links = {stored(path) for path in visible if os.path.isdir(source / path)}
    assert paths == Counter(expected - folder_links | loops)
    if listing is not None:
        others = [path for path in visible if stored(path) not in paths.keys() | folder_links]
        n_hidden_items = listing.skipped.get("hidden", 0)
        assert sum(listing.skipped.values()) - n_hidden_items == len(others)
        assert (n_hidden_items > 0) == (len(visible) < len(made) or has_hidden_folder(source))
    for row in rows:
        label, path = row["label"], str(row["path"])
        assert label == unicodedata.normalize("NFC", path.split("/")[-2])
        assert content_of(path) in (*CONTENTS.values(), Path(trees.__file__).read_bytes(), "unreadable")


def content_of(path: str) -> bytes | str:
    try:
        return read_photo(path)
    except DecodeError as error:
        return error.reason


def is_loop(path: Path) -> bool:
    return os.readlink(path) == path.name


def has_hidden_folder(source: Path) -> bool:
    return any(is_hidden(name) for _, folders, _ in os.walk(source) for name in folders)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    items=items,
    delimiter=st.sampled_from(",;\t"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    change=st.sampled_from(["none", "backslashes", "blanks", "NFD", "NFC", "absolute"]),
)
def test_labels_are_right_or_counted(
    tmp_path: Path, items: list[Item], delimiter: str, encoding: str, change: str
) -> None:
    root = tmp_path / "case"
    shutil.rmtree(root, ignore_errors=True)
    source = root / "photos"
    source.mkdir(parents=True)
    make(source, [item._replace(kind="photo") for item in items])
    _, rows = listed_rows(source, root)
    paths = [str(row["path"]).removeprefix(f"file:{source}/") for row in rows]
    label_of = {path: f"label {number}" for number, path in enumerate(paths)}
    with open(root / "labels.csv", "w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["path", "label"])
        writer.writerows([changed(path, change, source), label] for path, label in label_of.items())
    try:
        listing, rows = listed_rows(source, root, f"csv:{root}/labels.csv")
    except SourceError as error:
        if "different labels" not in str(error):  # two names became one by the change
            raise
        return

    n_without = 0
    for row in rows:
        path = str(row["path"]).removeprefix(f"file:{source}/")
        assert row["label"] in (label_of[path], None)
        n_without += row["label"] is None
    if listing is not None:
        assert any("have no label" in warning or "has a label" in warning for warning in listing.warnings) == (
            n_without > 0
        )
        if change in ("none", "absolute"):
            assert n_without == 0


def changed(path: str, change: str, source: Path) -> str:
    if change == "absolute":
        return f"{source}/{path}"
    if change in ("NFD", "NFC"):
        return unicodedata.normalize("NFD" if change == "NFD" else "NFC", path)
    return {"none": path, "backslashes": path.replace("/", "\\"), "blanks": f" {path} "}[change]
