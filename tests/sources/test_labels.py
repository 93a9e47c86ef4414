from __future__ import annotations

import unicodedata
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from verger.errors import SourceError
from verger.sources.partitions import Listing, Selection, list_photo_files

NAMES = ("a/1.jpg", "a/2.JPeG", "6.gif", "Zo\u00eb/7.jpg")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(b"x")
    return tmp_path / "tree"


def listing(tree: Path, label: str) -> tuple[Listing, dict[str, str | None]]:
    found = list_photo_files(str(tree), Selection(label=label), tree.parent / "listing")
    rows = pq.read_table(found.folder).to_pylist()
    start = len(f"file:{tree}/")
    return found, {row["path"][start:]: row["label"] for row in rows}


def labels_of(tree: Path, table: bytes | str) -> tuple[Listing, dict[str, str]]:
    file = tree.parent / "labels.csv"
    file.write_bytes(table.encode() if isinstance(table, str) else table)
    found, labels = listing(tree, f"csv:{file}")
    return found, {path: label for path, label in labels.items() if label is not None}


def test_paths_may_be_relative_absolute_or_uris(tree: Path) -> None:
    table = f"""path,label\na/1.jpg,"Apple, red"\n{tree}/a/2.JPeG,Kiwi\nfile:{tree}/6.gif,Fig\n"""
    table += f"file://localhost{tree}/Zo%C3%AB/7.jpg,Lime\n"
    found, labels = labels_of(tree, "\ufeff" + table)
    assert labels == {"a/1.jpg": "Apple, red", "a/2.JPeG": "Kiwi", "6.gif": "Fig", "Zo\u00eb/7.jpg": "Lime"}
    assert not found.warnings


@pytest.mark.parametrize(
    ("encoding", "delimiter"),
    [("utf-16", ","), ("utf-16", "\t"), ("latin-1", ";"), ("cp1252", ";"), ("utf-8-sig", ";"), ("utf-8", "|")],
)
def test_tables_of_spreadsheets_are_read(tree: Path, encoding: str, delimiter: str) -> None:
    rows = [("Path ", "note", " LABEL"), ("a/1.jpg", "x, y; z", "P\u00eache"), ("Zo\u00eb/7.jpg", "", "Lime")]
    text = "\r\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    _, labels = labels_of(tree, text.encode(encoding))
    assert labels == {"a/1.jpg": "P\u00eache", "Zo\u00eb/7.jpg": "Lime"}


def test_a_line_that_names_the_delimiter_is_no_header(tree: Path) -> None:
    assert labels_of(tree, "sep=;\r\npath;label\r\na/1.jpg;Apple\r\n")[1] == {"a/1.jpg": "Apple"}


@pytest.mark.parametrize(
    "written",
    ["a\\1.jpg", " a/1.jpg ", "a/1.jpg\t", ".\\a\\1.jpg", " a\\1.jpg", "a//1.jpg", "./a/./1.jpg", "a/../a/1.jpg"],
)
def test_separators_and_blanks_do_not_matter(tree: Path, written: str) -> None:
    found, labels = labels_of(tree, f'path,label\n"{written}", Apple \n')
    assert labels == {"a/1.jpg": "Apple"}
    assert len(found.warnings) == 1 and "3 of 4 photos have no label" in found.warnings[0]


def test_unicode_normal_forms_do_not_matter(tree: Path) -> None:
    assert labels_of(tree, f"path,label\n{unicodedata.normalize('NFD', NAMES[3])},Lime\n")[1] == {NAMES[3]: "Lime"}


def test_a_photo_with_exactly_the_path_of_a_row_is_the_only_one(tree: Path) -> None:
    for name in ("a/1.jpg ", "a\\1.jpg"):
        (tree / name).write_bytes(b"x")
    assert labels_of(tree, "path,label\na/1.jpg,Apple\n")[1] == {"a/1.jpg": "Apple"}


def test_a_row_that_may_be_of_two_photos_is_of_none(tree: Path) -> None:
    for name in ("a/3.jpg ", " a/3.jpg", "a/ 3.jpg"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_bytes(b"x")
    found, labels = labels_of(tree, "path,label\na/3.jpg,Apple\n")
    assert labels == {}
    assert "1 rows match no photo (first: line 2, 'a/3.jpg')" in found.warnings[1]


@pytest.mark.parametrize("written", ["A/1.jpg", "a/1.JPG", "a%2F1.jpg", "b/1.jpg", "1.jpg"])
def test_rows_and_photos_that_do_not_match_are_counted(tree: Path, written: str) -> None:
    found, labels = labels_of(tree, f"path,label\n{written},Apple\n6.gif,Fig\n")
    assert labels == {"6.gif": "Fig"}
    photos, rows = found.warnings
    assert "3 of 4 photos have no label" in photos and f"{tree}/Zo\u00eb/7.jpg" in photos
    assert f"1 rows match no photo (first: line 2, {written!r})" in rows


def test_rows_without_a_label_are_counted(tree: Path) -> None:
    found, labels = labels_of(tree, "path,label\na/1.jpg\n6.gif,Fig\n\na/2.JPeG, \n,Kiwi\n")
    assert labels == {"6.gif": "Fig"}
    assert "3 rows match no photo (first: line 2, 'a/1.jpg' without a label)" in found.warnings[1]


def test_a_sample_says_nothing_of_rows_without_photo(tree: Path) -> None:
    table = tree.parent / "labels.csv"
    table.write_text("".join(["path,label\n", *(f"{name},Fig\n" for name in NAMES)]))
    found = list_photo_files(str(tree), Selection(label=f"csv:{table}", limit=2), tree.parent / "listing")
    assert found.n_photos == 2 and not found.warnings


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("path,label\na/1.jpg,Apple\n./a/1.jpg,Pear\n", "lines 2 and 3 give './a/1.jpg' different labels"),
        ('path,label\na/1.jpg,"Apple\n6.gif,Fig\n', "a quote is not closed"),
        ("file,kind\na/1.jpg,Apple\n", "columns path,label, found 'file,kind'"),
        ("", "found 'an empty file'"),
    ],
)
def test_a_table_that_contradicts_itself_or_is_none_is_refused(tree: Path, table: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as error:
        labels_of(tree, table)
    assert "\n" not in str(error.value)


def test_the_same_label_twice_is_no_contradiction(tree: Path) -> None:
    found, labels = labels_of(tree, "path,label\na/1.jpg,Apple\n./a/1.jpg, Apple\n")
    assert labels == {"a/1.jpg": "Apple"} and len(found.warnings) == 1


@pytest.mark.parametrize(("pattern", "expected"), [("(nowhere)", "none of the 4"), ("(a)/", "2 of 4 photos have")])
def test_a_pattern_that_matches_nothing_says_so(tree: Path, pattern: str, expected: str) -> None:
    found, _ = listing(tree, f"regex:/tree/{pattern}")
    assert expected in found.warnings[0]


def test_labels_in_two_unicode_spellings_become_one(tree: Path) -> None:
    (tree / "Zoe\u0308").mkdir()
    (tree / "Zoe\u0308" / "8.jpg").write_bytes(b"x")
    found, labels = listing(tree, "parent")
    assert {labels[NAMES[3]], labels["Zoe\u0308/8.jpg"]} == {"Zo\u00eb"}
    assert "two Unicode forms" in found.warnings[0] and "Zo\u00eb" in found.warnings[0]


def test_names_with_colons_are_no_uris_in_a_table(tree: Path) -> None:
    for name in ("fruits:v2/a:1.jpg", "IMG-T10:30.jpg"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_bytes(b"x")
    _, labels = labels_of(tree, "path,label\nfruits:v2/a:1.jpg,Fig\n./IMG-T10:30.jpg,Lime\n")
    assert labels == {"fruits:v2/a:1.jpg": "Fig", "IMG-T10:30.jpg": "Lime"}


def test_a_table_with_one_byte_that_is_not_utf8_is_refused(tree: Path) -> None:
    table = "path,label\na/1.jpg,K\u00e4se\n".encode() + b"6.gif,\xc4pfel\n"
    with pytest.raises(SourceError, match="line 3 is not UTF-8, but other lines are"):
        labels_of(tree, table)


def test_another_encoding_than_utf8_is_a_warning(tree: Path) -> None:
    found, labels = labels_of(tree, "path,label\na/1.jpg,K\u00e4se\n".encode("cp1252"))
    assert labels == {"a/1.jpg": "K\u00e4se"}
    assert "read as Windows-1252" in " ".join(found.warnings)
    with pytest.raises(SourceError, match="neither UTF-8 nor Windows-1252"):
        labels_of(tree, b"path,label\na/1.jpg,\x81\n")


@pytest.mark.parametrize("start", ['"path,label\n', "[" + "1," * 200_000])
def test_a_file_that_is_no_table_is_refused(tree: Path, start: str) -> None:
    with pytest.raises(SourceError, match=r"not a valid CSV|columns path,label"):
        labels_of(tree, start + "a/1.jpg,Fig\n" * 20_000)
