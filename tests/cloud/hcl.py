"""Read Terraform files as `terraform fmt` leaves them: every block and argument begins a line of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_BLOCK = re.compile(r'^\s*(\w+)((?: "[^"]*")*) \{$')
_ARGUMENT = re.compile(r"^\s*(\w+)\s+= (.*)$")
_OPENING, _CLOSING = "([{", ")]}"


@dataclass
class Block:
    """A block: its word, its labels, its arguments with their text, the blocks in it."""

    word: str
    labels: tuple[str, ...] = ()
    arguments: dict[str, str] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)


def read_blocks(folder: Path) -> list[Block]:
    """Return the outermost blocks of all files in a folder."""
    return [block for file in sorted(folder.glob("*.tf")) for block in _read(file)]


def _read(file: Path) -> list[Block]:
    lines = (line for line in file.read_text().splitlines() if not line.strip().startswith("#"))
    return _body(lines, Block("file")).blocks


def _body(lines: Iterator[str], block: Block) -> Block:
    for line in lines:
        if line.strip() == "}":
            return block
        if begun := _BLOCK.match(line):
            labels = tuple(re.findall(r'"([^"]*)"', begun[2]))
            block.blocks.append(_body(lines, Block(begun[1], labels)))
        elif match := _ARGUMENT.match(line):
            block.arguments[match[1]] = _value(match[2], lines)
    return block


def _value(first: str, lines: Iterator[str]) -> str:
    """Return an argument's text, to the line where its last bracket is closed."""
    text = first
    while sum(map(text.count, _OPENING)) > sum(map(text.count, _CLOSING)):
        text += "\n" + next(lines)
    return text
