from __future__ import annotations

import io

import pytest
from rich.console import Console

from verger.cli.tables import prediction_table
from verger.learn.predict import Prediction

LONG = "IMG_20261130_101112_portrait_of_a_fruit.jpg"


def shown(*predictions: Prediction, columns: int = 80) -> str:
    with io.StringIO() as file:
        Console(file=file, width=columns).print(prediction_table(list(predictions)))
        return file.getvalue()


def cells(text: str, column: int) -> list[str]:
    """Return the lines of a column."""
    return [line.split("│")[column].strip() for line in text.splitlines() if line.startswith("│")]


def sure(path: str, *, variety: str | None = None) -> Prediction:
    species = (("Passion fruit", 0.8), ("Apple", 0.15), ("Pear", 0.004))
    return Prediction(path, "sure", species, variety)


@pytest.mark.parametrize("columns", [80, 200])
def test_a_long_name_stays_readable(columns: int) -> None:
    text = shown(sure(f"/photos/{LONG}", variety="Passion fruit Purple"), columns=columns)
    lines = [line for line in cells(text, 1) if line]
    assert "".join(lines) == LONG and len(lines) <= 3
    assert cells(text, 2)[0] == "Passion fruit Purple"


def test_the_species_that_it_may_also_be_are_shown() -> None:
    text = shown(sure("a.jpg"), columns=120)
    assert [cells(text, i) for i in (2, 3, 4)] == [["Passion fruit"], ["80%"], ["Apple 15%"]]
    unsure = Prediction("a.jpg", "unsure", (("Apple", 0.5), ("Pear", 0.4)))
    assert [cells(shown(unsure), i) for i in (2, 3, 4)] == [["not sure"], [""], ["Apple 50%, Pear 40%"]]
    nothing = Prediction("a.jpg", "not a fruit", (("Not a fruit", 0.9), ("Pear", 0.1)))
    assert [cells(shown(nothing), i) for i in (2, 3, 4)] == [["not a fruit"], ["90%"], ["Pear 10%"]]


def test_photos_with_one_name_are_shown_by_their_paths() -> None:
    assert cells(shown(sure("a/1.jpg"), sure("a/2.jpg")), 1) == ["1.jpg", "2.jpg"]
    assert cells(shown(sure("a/1.jpg"), sure("b/1.jpg")), 1) == ["a/1.jpg", "b/1.jpg"]


def test_an_error_leaves_the_other_columns_readable() -> None:
    error = "unreadable: FileNotFoundError: No such file or directory, and what else the system says"
    text = shown(Prediction(LONG, error=error), sure("b.jpg", variety="Passion fruit Purple"))
    assert max(map(len, text.splitlines())) <= 80
    assert " ".join(line for line in cells(text, 2) if line) == "error Passion fruit Purple"
    last = [line for line in cells(text, 4) if line]
    assert " ".join(last[:-1]) == error and last[-1] == "Apple 15%"
