"""Random trees of files with any names and of any kind."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

from tests.support.photos import encode, paint

PHOTO = encode(paint(20, 16), "PNG")
CONTENTS = {
    "photo": PHOTO,
    "jpeg": encode(paint(16, 20), "JPEG"),
    "cut off": PHOTO[:60],
    "text": b"x",
    "empty": b"",
}

KINDS = (*CONTENTS, "photo", "photo", "loop", "gone", "pipe", "socket", "folder link", "file link", "device")
SUFFIXES = (".jpg", ".JPG", ".jpeg", ".png", ".txt", "", ".heic", ".jpg ", ".jpg.bak")

# Every character but NUL and the slash; invalid bytes are the surrogates by which Python represents them.
characters = st.characters(exclude_categories=["Cs"], exclude_characters="/\0")
bytes_not_utf8 = st.sampled_from("\udc80\udcff\udce9")
odd = st.sampled_from(
    ["*", "?", "[1]", "{a,b}", ":", "-", ".", "_", "..", "%20", "\n", "\\", " ", "e\u0301", "\u00e9", "~"]
)
stems = st.lists(characters | bytes_not_utf8 | odd, min_size=1, max_size=6).map("".join)


class Item(NamedTuple):
    """A file of a tree: the names of its folders, its own name, and its kind."""

    folders: tuple[str, ...]
    name: str
    kind: str


def usable(name: str) -> bool:
    return name not in (".", "..") and len(os.fsencode(name)) < 100


folders = st.lists(stems.filter(usable), max_size=3).map(tuple)
names = st.tuples(stems, st.sampled_from(SUFFIXES)).map("".join).filter(usable)
items = st.lists(st.builds(Item, folders, names, st.sampled_from(KINDS)), min_size=1, max_size=12)


def make(root: Path, wanted: list[Item]) -> list[str]:
    """Make the items that can be made beside each other; return the relative paths of all that are no folders."""
    made = []
    for item in wanted:
        path = root.joinpath(*item.folders, item.name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            make_one(root, path, item.kind)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
        made.append(os.path.relpath(path, root))
    return made


def make_one(root: Path, path: Path, kind: str) -> None:
    if os.path.lexists(path):
        raise FileExistsError
    if kind in CONTENTS:
        path.write_bytes(CONTENTS[kind])
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        if len(os.fsencode(path)) > 100:  # a limit of the system
            raise FileExistsError
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.fsencode(path))
    else:
        targets = {"loop": path.name, "gone": "nowhere at all", "folder link": str(root), "file link": __file__}
        path.symlink_to(targets.get(kind, "/dev/zero"))
