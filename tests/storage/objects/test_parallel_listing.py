"""The parallel listing yields the same objects in the same order as a listing page by page."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from obstore.exceptions import BaseError

from verger.errors import StorageError
from verger.storage.objects.pages import _without_marks, walk
from verger.storage.objects.parallel_listing import ObjectInfo, list_ranges

NOW = datetime.now(UTC)


class Store:
    """A store's listing, `page_size` keys a request: `folder/` is seen as `folder`, as obstore has it.

    order: what keys are sorted by.
    """

    def __init__(
        self, keys: set[str], page_size: int, latency_s: float = 0, order: Callable[[str], Any] = str
    ) -> None:
        self.keys, self.page_size, self.latency_s = sorted(keys, key=order), page_size, latency_s
        self.order = order
        self.n_requests = self.n_now = self.n_at_most = self.n_from_the_start = 0
        self._lock = threading.Lock()

    def pages(self, start: str | None) -> Iterator[list[ObjectInfo]]:
        at = 0 if start is None else bisect_right(self.keys, self.order(start), key=self.order)
        self.n_from_the_start += start is None
        while page := self._ask(at):
            yield [ObjectInfo(key.rstrip("/"), 0 if key.endswith("/") else 1, 0) for key in page]
            at += self.page_size
            if at >= len(self.keys):
                return

    def _ask(self, at: int) -> list[str]:
        with self._lock:
            self.n_requests += 1
            self.n_now += 1
            self.n_at_most = max(self.n_at_most, self.n_now)
        time.sleep(self.latency_s)
        with self._lock:
            self.n_now -= 1
        return self.keys[at : at + self.page_size]

    def listed(self, prefix: str) -> list[str]:
        return [found.key for found in list_ranges(prefix, self.pages, self.page_size)]


names = st.text(st.one_of(st.sampled_from("ab09 .-_!~"), st.characters(exclude_categories=["Cs"])), min_size=1)
paths = st.lists(names.map(lambda name: name.replace("/", "-")), min_size=1, max_size=4).map("/".join)


@settings(deadline=None, max_examples=60)
@given(st.sets(paths, max_size=60), st.sampled_from(["", "photos/", "a b/é/"]), st.integers(1, 7), st.booleans())
@example({f"{i:05d}.jpg" for i in range(300)}, "photos/", 5, False)
@example({"a/b.jpg", "a/b/1", "a/b-2", "a/b/3", "a/c"}, "", 1, True)
def test_it_gives_every_object_once_in_the_order_of_the_keys(
    names: set[str], prefix: str, page_size: int, has_marks: bool
) -> None:
    keys = {f"{prefix}{name}" for name in names}
    if has_marks:
        keys |= {f"{key.rpartition('/')[0]}/" for key in keys if "/" in key.removeprefix(prefix)}
    store = Store(keys, page_size)
    plain = [found for page in store.pages(None) for found in page]
    found = list_ranges(prefix, store.pages, page_size)
    assert list(_without_marks("", found)) == list(_without_marks("", plain))
    assert store.n_from_the_start == 2, "once for each"


@pytest.mark.parametrize(
    "name", ["{:07d}.jpg", "IMG {}.jpg", "{0:03x}{0}.png", "a long way/down/to the/photos/{:05d}", "{}/photo.jpg"]
)
def test_a_flat_folder_is_listed_side_by_side_for_little_more_than_its_pages(name: str) -> None:
    store = Store({f"photos/{name.format(i)}" for i in range(4000)}, page_size=20, latency_s=0.002)
    assert store.listed("photos/") == store.keys
    assert store.n_at_most == 16
    assert store.n_requests < 2 * 4000 / 20


def test_what_fits_on_a_page_is_one_request() -> None:
    store = Store({"photos/1.jpg", "photos/2.jpg"}, page_size=3)
    assert store.listed("photos/") == ["photos/1.jpg", "photos/2.jpg"]
    assert store.n_requests == 1
    assert Store(set(), page_size=3).listed("photos/") == []


def test_who_wants_few_asks_for_few() -> None:
    store = Store({f"photos/{i:05d}" for i in range(3000)}, page_size=10)
    found = list_ranges("photos/", store.pages, 10)
    assert [next(found).key for _ in range(10)] == store.keys[:10]
    found.close()  # type: ignore[attr-defined]
    assert store.n_requests == 1


def test_a_store_that_does_not_know_where_to_begin_loses_nothing() -> None:
    store = Store({f"photos/{i:05d}" for i in range(300)}, page_size=10)
    found = list_ranges("photos/", lambda start: store.pages(None), 10)
    assert [f.key for f in found] == store.keys
    assert store.n_requests <= 16 * 30, "as many listings of all 30 pages as are made side by side, at most"


def by_level(key: str) -> str:
    """The order of Azure's accounts with a hierarchical namespace."""
    return key.replace("/", "\0")


def by_number(key: str) -> tuple[int, str]:
    return len(key), key


ORDERS: list[Callable[[str], Any]] = [by_level, str.swapcase, by_number, lambda key: key[::-1]]


@settings(deadline=None, max_examples=40)
@given(st.sets(paths, max_size=60), st.sampled_from(ORDERS), st.integers(1, 7))
def test_a_store_with_another_order_loses_nothing(
    names: set[str], order: Callable[[str], Any], page_size: int
) -> None:
    store = Store(names, page_size, order=order)
    found = store.listed("")
    assert len(found) == len(names) and set(found) == names


def flat_folders() -> set[str]:
    folders = {f"photos/{name}/{i:04d}.jpg" for name in ("Apple", "Apple Braeburn", "Apple-2") for i in range(150)}
    return folders | {f"photos/{i}.jpg" for i in range(60)}


def test_azure_with_a_hierarchical_namespace_loses_nothing() -> None:
    store = Store(flat_folders(), page_size=10, order=by_level)
    assert sorted(store.listed("photos/")) == sorted(store.keys)


def test_a_store_that_lists_nothing_after_a_key_loses_nothing() -> None:
    """OneLake."""
    store = Store(flat_folders(), page_size=10)
    found = list_ranges("photos/", lambda start: store.pages(start) if start is None else iter([]), 10)
    assert [f.key for f in found] == store.keys


@pytest.mark.parametrize(
    ("root", "is_cut"),
    [
        ("s3a://bucket", True),
        ("gs://bucket", True),
        ("s3a://bucket--euw1-az1--x-s3", False),
        ("abfss://container@account.dfs.core.windows.net", False),
        ("abfs://container@account.dfs.core.windows.net", False),
        ("az://container", False),
    ],
)
def test_stores_that_may_have_another_order_are_not_cut(
    root: str, is_cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str | None] = []

    def pages(store: object, prefix: str, *, offset: str | None = None, chunk_size: int) -> Iterator[Any]:
        opened.append(offset)
        first = 0 if offset is None else bisect_right(keys, offset)
        for at in range(first, len(keys), chunk_size):
            yield [{"path": key, "size": 1, "last_modified": NOW} for key in keys[at : at + chunk_size]]

    keys = [f"photos/{i:05d}.jpg" for i in range(4000)]
    monkeypatch.setattr("verger.storage.objects.stores.store_of", lambda root: None)
    monkeypatch.setattr("obstore.list", pages)
    assert [found.key for found in walk(root, "photos")] == keys
    assert (len(opened) > 1) == is_cut


def test_an_answer_that_breaks_off_is_asked_for_again_without_a_key_where_there_is_no_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n_opened = 0

    def pages(store: object, prefix: str, *, chunk_size: int) -> Iterator[Any]:
        nonlocal n_opened
        n_opened += 1
        for at in range(0, len(keys), chunk_size):
            if at == 2000 and n_opened == 1:
                raise BaseError("error decoding response body error")
            yield [{"path": key, "size": 1, "last_modified": NOW} for key in keys[at : at + chunk_size]]

    keys = sorted((f"photos/{i % 7}/{i}.jpg" for i in range(4000)), key=by_level)
    monkeypatch.setattr("verger.storage.objects.stores.store_of", lambda root: None)
    monkeypatch.setattr("obstore.list", pages)
    assert [found.key for found in walk("az://container", "photos")] == keys and n_opened == 2
    n_opened = 0
    found = walk("az://container", "photos")
    assert [next(found).key for _ in range(1500)] == keys[:1500]
    keys = keys[1:]
    with pytest.raises(StorageError, match="objects were changed"):
        list(found)


def test_a_store_that_fails_half_way_is_an_error() -> None:
    store = Store({f"photos/{i:05d}" for i in range(300)}, page_size=10)

    def pages(start: str | None) -> Iterator[list[ObjectInfo]]:
        yield from store.pages(start) if start is None else broken()

    def broken() -> Iterator[list[ObjectInfo]]:
        raise StorageError("the store is gone")
        yield []

    with pytest.raises(StorageError, match="is gone"):
        list(list_ranges("photos/", pages, 10))
