from __future__ import annotations

import pytest

from verger.database.search_text import fold, join_names


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Pêche", "peche"),
        ("  GRANNY-Smith\t", "granny smith"),
        ("cœur de bœuf", "coeur de boeuf"),
        ("Straße", "strasse"),
        ("Kiwi d\u2019été", "kiwi d'ete"),
        ("e\u0301te\u0301", "ete"),
        ("100% _x_", "100% _x_"),
        ("a\0b\nc", "a b c"),
        ("\uff21\uff22", "ab"),
        ("", ""),
    ],
)
def test_case_and_accents_are_removed(text: str, folded: str) -> None:
    assert fold(text) == folded == fold(folded)


def test_names_are_lines() -> None:
    assert join_names(["Poire", "Pear", "pear"]) == "\npear\npoire"
