"""Text in the form in which it is searched."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

# Letters and signs that have no decomposition in Unicode. Hyphens separate words, as spaces do.
_REPLACED = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "\u2019": "'", "-": " ", "\u2010": " "})


def fold(text: str) -> str:
    """Return a text in lower case, without accents, with single spaces between its words."""
    decomposed = unicodedata.normalize("NFKD", text.casefold().translate(_REPLACED))
    letters = (letter for letter in decomposed if unicodedata.category(letter) != "Mn")
    # Control characters separate words too: they never match the line ends between names.
    spaced = (" " if unicodedata.category(letter).startswith("C") else letter for letter in letters)
    return " ".join("".join(spaced).split())


def join_names(names: Iterable[str]) -> str:
    """Return folded names, one a line, each after a line end: so a search can find the beginning of a name."""
    return "".join(f"\n{name}" for name in sorted({fold(name) for name in names}))
