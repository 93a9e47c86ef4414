"""Guess the key in the middle between two keys, from the characters that occur in the keys listed so far."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise, takewhile

# Two keys count as equal if their first 100 characters after the prefix are equal.
_LENGTH = 100
_LAST_ASCII = "\x7f"


class KeySpace:
    """Represents keys below a prefix as numbers, to compute the middle between two keys.

    The digits of the numbers are the characters seen so far, in order. The digit zero means the end of a key.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._seen: set[str] = set()
        self._characters: list[str] = []

    def learn(self, keys: Iterable[str]) -> None:
        """Learn which characters occur in `keys`."""
        seen = self._seen.union(*(key.removeprefix(self._prefix) for key in keys))
        if seen == self._seen:
            return
        self._seen, characters = seen, sorted(seen)
        # A writing system may have thousands of characters, but few of them occur. So all characters between two
        # that occur have one digit.
        gaps = [(ord(low), ord(high)) for low, high in pairwise(characters) if high > _LAST_ASCII]
        self._characters = sorted({*characters, *(chr((low + high) // 2) for low, high in gaps)})

    def edges(self, keys: list[str]) -> list[str]:
        """Return the key that follows all keys with the common start of `keys`; the same for shorter starts.

        With the prefix photos/, for keys that start with photos/2024/: photos/20240, photos/2025, photos/203,
        photos/3.
        """
        pairs = zip(min(keys), max(keys), strict=False)
        common = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        kept = {len(common) - n for n in (0, 1, 2, 4, 8, 16, 32, 64)}
        starts = [common[:n] for n in kept if n > len(self._prefix)]
        return sorted(
            edge
            for edge in {text[:-1] + chr(min(ord(text[-1]) + 1, sys.maxunicode)) for text in starts}
            if _is_key(edge)
        )

    def width(self, after: str, stop: str | None) -> int:
        """Return the difference of the numbers of two keys; stop = None means the end of all keys."""
        return self._number(stop) - self._number(after)

    def middle(self, after: str, stop: str | None) -> str | None:
        """Return a short key near the middle between two keys, or None if no key lies between them."""
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
    """Return whether obstore can use a key unchanged."""
    return key.isprintable() and all(part not in ("", ".", "..") for part in key.split("/"))
