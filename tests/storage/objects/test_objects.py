from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from obstore.exceptions import GenericError

from tests.support import s3
from verger.errors import DecodeError, Reason, ResultError, SourceError, StorageError
from verger.kernel.decode import limits
from verger.kernel.networks.inference import PhotoFeatures, PreparedPhoto
from verger.sources.content import read_photo
from verger.sources.partitions import Selection, list_photo_files
from verger.storage.commit import object_lock, stage_result
from verger.storage.commit.object_lock import Lock
from verger.storage.objects import ObjectPath, Version, object_path
from verger.storage.objects.stores import store_of, translate_error
from verger.storage.tables import open_table, read_batches
from verger.storage.uri import any_path
from verger.tasks.featurize_batches import WorkerOptions, featurize_batches


@pytest.fixture(scope="module", autouse=True)
def endpoint() -> Iterator[str]:
    with s3.serving() as endpoint:
        yield endpoint
    store_of.cache_clear()


@pytest.fixture
def place() -> ObjectPath:
    """A folder in the store, for this test only."""
    found = object_path(f"s3://{s3.BUCKET}/{uuid4()}")
    assert found is not None
    return found


def test_a_place_answers_as_a_folder_does(place: ObjectPath, tmp_path: Path) -> None:
    for folder in (place, tmp_path / "out"):
        assert not folder.exists() and not folder.is_dir()
        (folder / "sub é").mkdir(parents=True, exist_ok=True)
        (folder / "a b.txt").write_text("one")
        (folder / "sub é" / "c.bin").write_bytes(b"two")
        assert folder.exists() and folder.is_dir() and not folder.is_file()
        assert (folder / "a b.txt").is_file() and not (folder / "a b.txt").is_dir()
        assert sorted(path.name for path in folder.iterdir()) == ["a b.txt", "sub é"]
        assert [path.name for path in folder.glob("*.txt")] == ["a b.txt"]
        assert (folder / "sub é" / "c.bin").read_bytes() == b"two"
        assert (folder / "a b.txt").with_name("d").name == "d"
        assert (folder / "sub é" / "c.bin").parent == folder / "sub é"
        with pytest.raises(FileNotFoundError):
            (folder / "none").read_bytes()
        (folder / "a b.txt").unlink()
        assert [path.name for path in folder.iterdir()] == ["sub é"]


@pytest.mark.parametrize("scheme", ["s3", "s3a", "s3n", "S3"])
def test_all_spellings_of_s3_are_what_spark_calls_s3a(scheme: str) -> None:
    assert str(any_path(f"{scheme}://bucket/a/b/")) == "s3a://bucket/a/b"


@pytest.mark.parametrize("uri", ["s3://b//out", "s3://b///out//", "s3a://b/out"])
def test_slashes_around_a_key_are_removed(uri: str) -> None:
    assert any_path(uri) == ObjectPath("s3a://b", "out")


def test_azures_containers_have_a_short_name_too() -> None:
    assert any_path("az://photos/a/b/") == ObjectPath("az://photos", "a/b")


@pytest.mark.parametrize(
    ("path", "folder", "expected"),
    [
        ("s3://b/out", "s3a://b/out/", True),
        ("s3://b/out/images", "s3a://b/out", True),
        ("s3://b/output", "s3a://b/out", False),
        ("s3://b", "s3a://b/out", False),
        ("s3://b/out", "gs://b/out", False),
        ("s3://b/x", "s3://b", True),
        ("s3://b//out", "s3://b/out", True),
        ("az://c/out", "abfss://c@one.dfs.core.windows.net/out", True),
        ("abfs://c@one.dfs.core.windows.net/out/x", "abfss://c@one.dfs.core.windows.net/out", True),
        ("abfss://c@two.dfs.core.windows.net/out", "abfss://c@one.dfs.core.windows.net/out", False),
        ("az://d/out", "az://c/out", False),
    ],
)
def test_a_path_is_within_a_folder_however_its_bucket_is_spelled(path: str, folder: str, expected: bool) -> None:
    one, other = object_path(path), object_path(folder)
    assert one is not None and other is not None
    assert one.is_within(other) is expected


@pytest.mark.parametrize("path", ["/a/b", "a", "file:/a", "s3:/a", "C:/x"])
def test_what_is_no_store_stays_a_path(path: str) -> None:
    assert object_path(path) is None


def test_parquet_is_read_by_ranges(place: ObjectPath) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": range(1000)}), sink, row_group_size=100)
    (place / "t.parquet").write_bytes(sink.getvalue().to_pybytes())
    with (place / "t.parquet").open() as opened, pq.ParquetFile(opened) as table:
        assert table.num_row_groups == 10
        assert table.read_row_group(9)["a"].to_pylist() == list(range(900, 1000))


def test_a_table_of_many_files_is_read_ahead_and_in_order(place: ObjectPath) -> None:
    for number in range(40):
        buffer = io.BytesIO()
        pq.write_table(pa.table({"n": [2 * number, 2 * number + 1]}), buffer)
        (place / "table" / f"part-{number:05d}.parquet").write_bytes(buffer.getvalue())
    table = open_table(place, "table")
    assert table is not None
    assert [n for batch in read_batches(table, ["n"]) for n in batch["n"].to_pylist()] == list(range(80))


def test_a_tree_goes_with_the_objects_that_stand_for_folders(place: ObjectPath) -> None:
    s3.put(f"{place.key}/sub/", b"")
    (place / "sub" / "x").write_bytes(b"1")
    s3.put(f"{place.key}-beside", b"stays")
    assert [found.key for found in place.walk()] == [f"{place.key}/sub/x"]
    place.remove_tree()
    assert s3.keys(place.key) == [f"{place.key}-beside"]
    place.remove_tree()


def test_a_tree_goes_without_a_trace_in_the_folder_above(place: ObjectPath) -> None:
    for number in range(3):
        (place / "above" / "tree" / f"{number}").write_bytes(b"1")
    (place / "above" / "tree").write_bytes(b"an object of the same name")
    (place / "above" / "tree").remove_tree()
    assert s3.keys(place.key) == [f"{place.key}/above/tree"]


def test_a_tree_goes_though_connections_break(place: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        (place / f"{number}").write_bytes(b"1")
    (place / "alone").write_bytes(b"1")
    real, n_asked = obstore.delete, 0

    def delete(*given: Any) -> None:
        nonlocal n_asked
        n_asked += 1
        if n_asked % 3:
            raise GenericError("Error performing POST http://store - HTTP error: error sending request")
        real(*given)

    monkeypatch.setattr(obstore, "delete", delete)
    (place / "alone").unlink()
    place.remove_tree()
    assert s3.keys(place.key) == [] and n_asked == 6


def test_an_empty_photo_is_listed_as_any_other(place: ObjectPath) -> None:
    s3.put(f"{place.key}/empty.jpg", b"")
    s3.put(f"{place.key}/full.jpg", b"1")
    assert [found.length for found in place.walk()] == [0, 1]


def test_a_bucket_that_is_not_there_is_an_error_without_an_xml_page() -> None:
    with pytest.raises(StorageError, match="NoSuchBucket") as error:
        list(any_path("s3a://no-such-bucket/x").iterdir())
    assert "<" not in str(error.value)


def listed(src: str, folder: Path, selection: Selection | None = None) -> list[tuple[str, int, str | None]]:
    listing = list_photo_files(src, selection or Selection(), folder, n_slots=1)
    rows = [row for file in sorted(folder.iterdir()) for row in pq.read_table(file).to_pylist()]
    assert listing.n_photos == len(rows)
    return [(row["path"].partition("/photos/")[2], row["length"], row["label"]) for row in rows]


@pytest.fixture
def photos(place: ObjectPath, tmp_path: Path) -> tuple[str, Path]:
    """The same photos in the store and in a folder."""
    folder = tmp_path / "photos"
    names = [
        "kiwi/1.jpg",
        "kiwi/2.JPG",
        "kiwi/deep/3.png",
        "ripe pear/4.webp",
        "5.jpg",
        "kiwi/notes.txt",
        ".x/6.jpg",
    ]
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * i)
    s3.put_tree(folder, f"{place.key}/photos")
    return f"{place}/photos", folder


@pytest.mark.parametrize("below", ["", "/", "/kiwi", "/*/deep", "/ripe*", "/kiwi/1.jpg"])
def test_a_store_is_listed_as_a_folder_is(photos: tuple[str, Path], tmp_path: Path, below: str) -> None:
    remote, local = photos
    found = listed(f"{remote}{below}", tmp_path / "remote")
    assert sorted(found) == sorted(listed(f"{local}{below}", tmp_path / "local"))
    assert found


def test_labels_of_a_store_come_from_folder_pattern_or_table(photos: tuple[str, Path], tmp_path: Path) -> None:
    remote, _ = photos
    s3.put(f"{remote.partition(s3.BUCKET)[2][1:]}/labels.csv", b"path,label\nkiwi/1.jpg,green\n")
    by_table = listed(remote, tmp_path / "a", Selection(label=f"csv:{remote}/labels.csv"))
    assert {label for path, _, label in by_table if path == "kiwi/1.jpg"} == {"green"}
    by_pattern = listed(remote, tmp_path / "b", Selection(label=r"regex:/(\d)\.jpg$"))
    assert {label for path, _, label in by_pattern if path == "5.jpg"} == {"5"}


def test_a_store_without_photos_says_what_is_there(place: ObjectPath, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the store has no objects"):
        list_photo_files(f"{place}/photos", Selection(), tmp_path / "a")
    s3.put(f"{place.key}/photos/readme.md", b"1")
    with pytest.raises(SourceError, match=r"1 \.md"):
        list_photo_files(f"{place}/photos", Selection(), tmp_path / "b")


@pytest.mark.slow
def test_a_listing_asks_for_page_after_page(place: ObjectPath, tmp_path: Path) -> None:
    for i in range(2345):
        s3.put(f"{place.key}/photos/kiwi/{i:05d}.jpg", b"1")
    assert [path for path, _, _ in listed(f"{place}/photos", tmp_path / "a")][2344] == "kiwi/02344.jpg"


def test_a_photo_that_is_gone_is_rejected_and_a_store_that_fails_is_not_its_fault(
    place: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DecodeError, match="no such object") as gone:
        read_photo(f"{place}/1.jpg")
    assert gone.value.reason is Reason.UNREADABLE
    store_of.cache_clear()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setattr("verger.storage.objects.stores._RETRIES", 1)
        with pytest.raises(StorageError, match=s3.BUCKET):
            read_photo(f"{place}/1.jpg")
    store_of.cache_clear()


def test_an_object_too_large_for_a_photo_is_rejected_unread(
    place: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_MORE_BYTES", -8 * limits.DEFAULT_MAX_PIXELS + 10)
    s3.put(f"{place.key}/1.jpg", b"0123456789")
    s3.put(f"{place.key}/2.jpg", b"0123456789a")
    assert read_photo(f"{place}/1.jpg") == b"0123456789"
    with pytest.raises(DecodeError) as large:
        read_photo(f"{place}/2.jpg")
    assert large.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("said", "is_photos_fault"),
    [
        ("status code: 403 Forbidden: <Error><Code>AccessDenied</Code></Error>", True),
        ("AWS Error ACCESS_DENIED during HeadObject operation: No response body.", True),
        ("status code: 403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code></Error>", False),
        ("status code: 403 Forbidden: <Error><Code>ExpiredToken</Code></Error>", False),
    ],
)
def test_what_nobody_may_read_is_refused_and_bad_credentials_are_no_photos_fault(
    said: str, is_photos_fault: bool
) -> None:
    error = translate_error("s3a://bucket/x", Exception(said))
    assert str(error).startswith("s3a://bucket/x: access is refused") and "<" not in str(error)
    assert error.is_refusal is is_photos_fault


class _Lengths:
    """Fake network: the feature of a photo is its size in bytes."""

    n_features = batch_size = 1
    resizer = None


def test_photos_of_a_store_are_read_ahead_and_stay_in_order(
    place: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(100):
        s3.put(f"{place.key}/{i}", b"x" * i)

    def prepare(data: bytes, resizer: object, decode: object) -> PreparedPhoto:
        return PreparedPhoto("", len(data), 1, ())

    def infer(photos: list[PreparedPhoto], extractor: object) -> list[PhotoFeatures]:
        return [PhotoFeatures("", photo.width, 1, np.zeros(1, np.float32)) for photo in photos]

    monkeypatch.setattr("verger.tasks.featurize_batches.prepare_photo", prepare)
    monkeypatch.setattr("verger.tasks.featurize_batches.infer_photos", infer)
    names = [f"{place}/{i}" if i % 10 else f"{place}/gone-{i}" for i in range(100)]
    batch = pa.RecordBatch.from_pydict({"path": names})
    done = pa.Table.from_batches(
        featurize_batches([batch], _Lengths(), WorkerOptions(10))  # type: ignore[arg-type]
    ).to_pydict()
    assert done["path"] == names
    assert done["width"] == [i if i % 10 else None for i in range(100)]
    assert {reason for i, reason in enumerate(done["reason"]) if i % 10 == 0} == {"unreadable"}


def write_result(out: ObjectPath, text: str, *, overwrite: bool = False) -> None:
    with stage_result(out, overwrite=overwrite) as stage:
        (stage / "data" / "x").write_text(text)
        assert not (out / "manifest.json").exists() or overwrite
        (stage / "manifest.json").write_text("{}")


def names(place: ObjectPath) -> list[str]:
    return [found.key.removeprefix(f"{place.key}/") for found in place.walk()]


def test_a_result_appears_whole_and_alone(place: ObjectPath) -> None:
    write_result(place / "out", "one")
    assert names(place) == ["out/data/x", "out/manifest.json"]
    with pytest.raises(ResultError, match="--overwrite"):
        write_result(place / "out", "two")
    with (
        pytest.raises(ResultError, match=r"unknown command.*--overwrite"),
        stage_result(place / "out", overwrite=False, resume=True),
    ):
        pass
    (place / "out" / "older").write_text("goes with the old result")
    write_result(place / "out", "two", overwrite=True)
    assert names(place) == ["out/data/x", "out/manifest.json"]
    assert (place / "out" / "data" / "x").read_text() == "two"


def test_a_failed_run_leaves_the_last_good_result(place: ObjectPath) -> None:
    write_result(place / "out", "one")
    with pytest.raises(ValueError, match="half-way"), stage_result(place / "out", overwrite=True) as stage:
        (stage / "data" / "x").write_text("half")
        raise ValueError("half-way")
    assert names(place) == ["out/data/x", "out/manifest.json"]
    assert (place / "out" / "data" / "x").read_text() == "one"


def test_what_is_no_result_is_never_replaced_nor_a_whole_bucket(place: ObjectPath) -> None:
    (place / "photos" / "1.jpg").write_bytes(b"1")
    with pytest.raises(ResultError, match="not a result of verger"):
        write_result(place / "photos", "one", overwrite=True)
    with pytest.raises(ResultError, match=r"whole bucket|not a result"):
        write_result(ObjectPath(place.root, ""), "one")


def test_two_runs_do_not_write_to_one_place(place: ObjectPath) -> None:
    with (
        stage_result(place / "out", overwrite=False),
        pytest.raises(ResultError, match="another run"),
        stage_result(place / "out", overwrite=False),
    ):
        pass


@pytest.mark.parametrize(
    ("processes", "pid", "age_s", "is_dead"),
    [
        (None, 2**22 + 1, 1, True),
        ("elsewhere", 2**22 + 1, 1, False),  # a machine or container of the same hostname
        ("elsewhere", 1, 3600, True),
        ("elsewhere", 1, 1, False),
        (None, None, 0, False),
        (None, None, 10**7, True),  # renewed last before this process began: the number is in use again
    ],
)
def test_the_lock_of_a_run_that_died_is_taken_over(
    place: ObjectPath, processes: str | None, pid: int | None, age_s: float, is_dead: bool
) -> None:
    """Defaults: the process space of this process, and its pid."""
    processes = processes or object_lock._process_space()
    owner = {"host": socket.gethostname(), "pid": pid or os.getpid(), "at": time.time() - age_s}
    owner["processes"] = processes
    (place / ".out.verger-staging" / "lock").write_text(json.dumps(owner))
    if is_dead:
        write_result(place / "out", "one")
        assert names(place) == ["out/data/x", "out/manifest.json"]
    else:
        words = rf"^another run \(process {owner['pid']} on {owner['host']}\) is writing to "
        with pytest.raises(ResultError, match=words):
            write_result(place / "out", "one")


def test_processes_know_each_other_within_a_boot_and_a_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    object_lock._process_space.cache_clear()
    other = subprocess.run(
        [
            sys.executable,
            "-c",
            "from verger.storage.commit.object_lock import _process_space; print(_process_space())",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == object_lock._process_space() != socket.gethostname()

    def readlink(path: str) -> str:
        raise FileNotFoundError

    object_lock._process_space.cache_clear()
    monkeypatch.setattr(os, "readlink", readlink)
    assert object_lock._process_space() == socket.gethostname(), "a system without /proc"
    object_lock._process_space.cache_clear()


def test_a_run_that_ends_as_the_next_looks_at_its_lock_is_not_in_its_way(
    place: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = place / ".out.verger-staging" / "lock"
    lock.write_text("{}")
    real = ObjectPath.create

    def create(path: ObjectPath, data: bytes) -> Version | None:
        made = real(path, data)
        if made is None:
            path.unlink()
        return made

    with monkeypatch.context() as patch:
        patch.setattr(ObjectPath, "create", create)
        write_result(place / "out", "one")
    assert names(place) == ["out/data/x", "out/manifest.json"]


def dead_lock(out: ObjectPath) -> ObjectPath:
    lock = out.with_name(f".{out.name}.verger-staging") / "lock"
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 1, "at": time.time() - 3600}))
    return lock


def take_over_at_once(lock: ObjectPath, patch: pytest.MonkeyPatch, n_runs: int = 8) -> list[Lock]:
    """Let several runs find a dead lock at the same time; return those that get it."""
    all_have_seen = threading.Barrier(n_runs)

    def is_dead(owner: dict[str, Any]) -> bool:
        found = real(owner)
        all_have_seen.wait(60)
        return found

    real = object_lock._is_dead
    patch.setattr(object_lock, "_is_dead", is_dead)
    runs = [Lock(lock) for _ in range(n_runs)]
    with ThreadPoolExecutor(n_runs) as pool:
        has_taken = list(pool.map(Lock.take, runs))
    return [run for run, has in zip(runs, has_taken, strict=True) if has]


def test_of_runs_that_take_over_a_dead_lock_at_once_one_has_it(
    place: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = dead_lock(place / "out")
    (winner,) = take_over_at_once(lock, monkeypatch)
    assert json.loads(lock.read_text())["token"] == winner._token
    winner.check()
    winner.release()
    assert not lock.is_file()


def test_a_store_without_conditional_replacement_lets_one_take_over_too(
    place: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(path: ObjectPath, data: bytes, version: Version) -> None:
        raise translate_error(str(path), Exception("Server returned non-2xx status code: 501 Not Implemented"))

    monkeypatch.setattr(ObjectPath, "replace", replace)
    lock = dead_lock(place / "out")
    (winner,) = take_over_at_once(lock, monkeypatch)
    assert json.loads(lock.read_text())["token"] == winner._token
    winner.check()


def test_a_run_whose_lock_was_taken_over_changes_nothing(place: ObjectPath) -> None:
    write_result(place / "out", "one")
    with pytest.raises(ResultError, match="taken over"), stage_result(place / "out", overwrite=True) as stage:
        (stage / "features" / "x.parquet").write_text("two")
        (stage / "manifest.json").write_text("{}")
        dead_lock(place / "out")  # as if it had slept for an hour
        other = Lock(place / ".out.verger-staging" / "lock")
        assert other.take()
    assert (place / "out" / "data" / "x").read_text() == "one"
    other.check()
    other.release()


def test_a_lock_whose_creation_was_not_confirmed_is_still_ours(
    place: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ObjectPath.create

    def create(path: ObjectPath, data: bytes) -> Version | None:
        real(path, data)
        return real(path, data)  # the request was made again

    monkeypatch.setattr(ObjectPath, "create", create)
    write_result(place / "out", "one")
    assert names(place) == ["out/data/x", "out/manifest.json"]


@pytest.mark.parametrize("has_earlier", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("death", [KeyboardInterrupt(), StorageError("503 Slow Down")])
def test_a_switch_that_died_half_way_is_finished_by_the_next_run(
    place: ObjectPath, monkeypatch: pytest.MonkeyPatch, has_earlier: bool, overwrite: bool, death: BaseException
) -> None:
    out = place / "out"
    if has_earlier:
        write_result(out, "one")
    real = ObjectPath.copy_to

    def copy_to(path: ObjectPath, target: ObjectPath) -> None:
        if target.name == "manifest.json":
            raise death
        real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectPath, "copy_to", copy_to)
        with pytest.raises(ResultError, match="next run") as raised:
            write_result(out, "two", overwrite=True)
    assert raised.value.__cause__ is death
    assert (out / "data" / "x").exists() and not (out / "manifest.json").exists(), "a reader never sees half of it"
    if overwrite:
        write_result(out, "three", overwrite=True)
    else:
        with pytest.raises(ResultError, match="--overwrite"):
            write_result(out, "three")
    assert (out / "data" / "x").read_text() == ("three" if overwrite else "two")
    assert [name for name in names(place) if name.startswith("out/")] == ["out/data/x", "out/manifest.json"]


def test_what_died_before_its_switch_is_never_put_in_place(place: ObjectPath) -> None:
    """A run writes its report after its manifest."""
    (place / ".out.verger-staging" / "result" / "manifest.json").write_text("{}")
    write_result(place / "out", "two")
    assert names(place) == ["out/data/x", "out/manifest.json"]


def test_an_interrupt_after_the_switch_is_told_as_that(place: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ObjectPath.remove_tree

    def remove_tree(path: ObjectPath) -> None:
        if path.name == ".out.verger-staging":
            raise KeyboardInterrupt
        real(path)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectPath, "remove_tree", remove_tree)
        with pytest.raises(ResultError, match="new result"):
            write_result(place / "out", "one")
    with pytest.raises(ValueError, match="half-way"), stage_result(place / "out", overwrite=True) as stage:
        (stage / "manifest.json").write_text("{}")
        raise ValueError("half-way")
    assert (place / "out" / "data" / "x").read_text() == "one"


def test_without_credentials_the_error_names_the_places_they_may_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}/169.254.169.254"
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", nowhere)
        monkeypatch.setattr("verger.storage.objects.stores._RETRIES", 0)
        store_of.cache_clear()
        with pytest.raises(StorageError, match="AWS_PROFILE"):
            (any_path("s3a://bucket/x") / "y").read_bytes()
    store_of.cache_clear()
