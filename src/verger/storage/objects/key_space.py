"""How keys are spread, as far as they have been seen: where to cut what nobody has seen yet."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise, takewhile

# Of so many characters; what keys have in common beyond that is not told apart.
_LENGTH = 100
_ASCII = "\x7f"


class Spread:
    """Keys below a prefix as numbers: the characters met so far are their digits, zero is a key's end."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._met: set[str] = set()
        self._characters: list[str] = []

    def learn(self, keys: Iterable[str]) -> None:
        """Take in the characters of some keys."""
        met = self._met.union(*(key.removeprefix(self._prefix) for key in keys))
        if met == self._met:
            return
        self._met, characters = met, sorted(met)
        # A script has thousands of characters, of which few have been met: those half-way stand for the others.
        gaps = [(ord(low), ord(high)) for low, high in pairwise(characters) if high > _ASCII]
        self._characters = sorted({*characters, *(chr((low + high) // 2) for low, high in gaps)})

    def edges(self, keys: list[str]) -> list[str]:
        """Return where that ends which begins as all these keys do, or as they do but for a few characters."""
        pairs = zip(min(keys), max(keys), strict=False)
        common = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        kept = {len(common) - n for n in (0, 1, 2, 4, 8, 16, 32, 64)}
        begins = [common[:n] for n in kept if n > len(self._prefix)]
        return sorted(
            edge
            for edge in {text[:-1] + chr(min(ord(text[-1]) + 1, sys.maxunicode)) for text in begins}
            if _is_key(edge)
        )

    def width(self, after: str, stop: str | None) -> int:
        """Return how much room there is between two keys; no stop is the end of the prefix."""
        return self._number(stop) - self._number(after)

    def middle(self, after: str, stop: str | None) -> str | None:
        """Return a short key half-way between two, or None where there is no room."""
        number, digits = (self._number(after) + self._number(stop)) // 2, list[int]()
        for _ in range(_LENGTH):
            number, digit = divmod(number, self._base)
            digits.append(digit)
        key = self._prefix
        for digit in reversed(digits):
            if digit == 0:
                return None
            key += self._characters[digit - 1]
            if key > after and _is_key(key):
                return key if stop is None or key < stop else None
        return None

    @property
    def _base(self) -> int:
        return len(self._characters) + 1

    def _number(self, key: str | None) -> int:
        if key is None:
            return int(self._base**_LENGTH)
        name = key[len(self._prefix) :][:_LENGTH]
        number = 0
        for character in name:
            number = number * self._base + bisect_right(self._characters, character)
        return int(number * self._base ** (_LENGTH - len(name)))


def _is_key(key: str) -> bool:
    """Tell whether obstore takes a key as it is."""
    return key.isprintable() and all(part not in ("", ".", "..") for part in key.split("/"))
