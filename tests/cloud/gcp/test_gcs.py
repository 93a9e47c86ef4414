"""gs:// as verger.storage.objects asks it, of a Cloud Storage of our own: written, listed, read, removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cloud.gcp.gcs_server import Store, serving_store
from tests.storage.objects.test_objects import dead_lock, take_over_at_once
from tests.support.chain import store_at
from verger.sources.content import read_photo
from verger.sources.walk import Skipped, walk_source
from verger.storage.objects import ObjectPath, object_path
from verger.storage.objects.stores import translate_error


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    store = Store()
    store.make("orchard")
    with serving_store(store) as stub, store_at("GOOGLE_", {"STORAGE_EMULATOR_HOST": stub.url}):
        yield store


@pytest.fixture
def place(store: Store) -> ObjectPath:
    """A place of this test's own."""
    found = object_path(f"gs://orchard/{uuid4()}")
    assert found is not None
    return found


def test_a_place_answers_as_a_folder_does(place: ObjectPath) -> None:
    assert not place.exists() and not place.is_dir()
    (place / "sub é" / "c.bin").write_bytes(b"two")
    (place / "a b.txt").write_text("one")
    assert place.is_dir() and (place / "a b.txt").is_file() and not (place / "a b.txt").is_dir()
    assert [path.name for path in place.iterdir()] == ["a b.txt", "sub é"]
    assert (place / "sub é" / "c.bin").read_bytes() == b"two"
    with (place / "sub é" / "c.bin").open() as opened:
        opened.seek(1)
        assert opened.read() == b"wo"
    assert [found.length for found in place.walk()] == [3, 3]
    with pytest.raises(FileNotFoundError):
        (place / "none").read_bytes()
    (place / "a b.txt").unlink()
    assert [path.name for path in place.iterdir()] == ["sub é"]


def test_one_writer_alone_creates_an_object(place: ObjectPath) -> None:
    assert (place / "lock").create(b"mine") and not (place / "lock").create(b"yours")
    assert (place / "lock").read_bytes() == b"mine"


def test_of_runs_that_take_over_a_dead_lock_at_once_one_has_it(
    place: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    (winner,) = take_over_at_once(dead_lock(place / "out"), monkeypatch)
    winner.check()
    winner.release()
    assert not place.exists()


def test_a_tree_is_copied_and_removed(place: ObjectPath) -> None:
    for name in ("a", "sub/b", "manifest.json"):
        (place / "new" / name).write_text(name)
    (place / "new").copy_tree(place / "out", last="manifest.json")
    assert (place / "out" / "sub" / "b").read_text() == "sub/b"
    (place / "new").remove_tree()
    assert not (place / "new").exists() and (place / "out" / "manifest.json").is_file()


def test_a_listing_of_more_than_a_page_is_whole(place: ObjectPath, store: Store) -> None:
    names = [f"{n:04}.jpg" for n in range(2500)]
    store.objects |= {("orchard", f"{place.key}/{name}"): (b"x", 1) for name in names}
    assert [found.key.rpartition("/")[2] for found in place.walk()] == names


def test_missing_credentials_are_said_in_googles_words() -> None:
    nowhere = Exception("Generic GCS error: error sending request for url (http://metadata.google.internal/token)")
    for error in (nowhere, Exception("status code: 403 Forbidden")):
        assert "gcloud auth application-default login" in str(translate_error("gs://orchard/a.jpg", error))


def test_photos_are_found_and_read(place: ObjectPath, photos: Path) -> None:
    here = sorted(path for path in photos.rglob("*.JPG"))
    for photo in here:
        (place / str(photo.relative_to(photos))).write_bytes(photo.read_bytes())
    entries = list(walk_source(str(place), ("*.jpg",), Skipped()))
    assert [entry.length for entry in entries] == [photo.stat().st_size for photo in here]
    assert read_photo(entries[0].uri) == here[0].read_bytes()
