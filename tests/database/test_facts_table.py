from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from verger.database.connection import Database
from verger.database.facts_table import FactsRow, search, store_facts

NAMES = {
    "apple": ("Apple", "Pomme", "Malus domestica", "Granny Smith", "Clochard"),
    "pineapple": ("Pineapple", "Ananas", "Ananas comosus"),
    "peach": ("Peach", "Pêche", "Prunus persica", "Cœur de bœuf"),
    "strange": ("100%_sure\\", "Étrange", "Odditas"),
}


def facts_rows(version: str = "1") -> list[FactsRow]:
    return [
        FactsRow(species, language, version, names[index], {"id": species, "name": names[index]}, names)
        for species, names in NAMES.items()
        for index, language in enumerate(["en", "fr"])
    ]


@pytest.fixture
def facts(database: Database) -> Database:
    assert store_facts(database, facts_rows())
    return database


def names_of(database: Database, text: str, language: str = "en") -> list[str]:
    rows, total = search(database, text, language, 100, 0)
    assert total == len(rows)
    return [row["name"] for row in rows]


@pytest.mark.parametrize("text", ["pêche", "PECHE", "peaCH", "Prunus", "coeur de b", "CŒUR", "che"])
def test_names_in_all_languages_are_found_without_case_and_accents(text: str, facts: Database) -> None:
    assert names_of(facts, text, "fr")[0] == "Pêche" and names_of(facts, text)[0] == "Peach"


def test_varieties_are_found(facts: Database) -> None:
    assert names_of(facts, "granny-smith") == ["Apple"] and names_of(facts, "Clochard", "fr") == ["Pomme"]


def test_names_that_begin_with_the_text_come_first(facts: Database) -> None:
    assert names_of(facts, "apple") == ["Apple", "Pineapple"]
    assert names_of(facts, "p") == ["Apple", "Peach", "Pineapple"], "Pomme begins with it"
    assert names_of(facts, "in") == ["Pineapple"]


def test_wildcards_are_literal(facts: Database) -> None:
    for text in ("%", "_", "100%", "0%_s", "sure\\"):
        assert names_of(facts, text) == ["100%_sure\\"]
    for text in ("a%e", "a__le", "\\", "/", "%%", "' OR 1=1 --", "zzz", "apple\npineapple", "x" * 100_000):
        assert names_of(facts, text) == (["100%_sure\\"] if text == "\\" else [])


def test_names_do_not_run_into_each_other(facts: Database) -> None:
    assert names_of(facts, "apple\ngranny") == [] and names_of(facts, "apple granny") == []


def test_pages_are_in_alphabetical_order_of_the_language(facts: Database) -> None:
    assert names_of(facts, "") == ["100%_sure\\", "Apple", "Peach", "Pineapple"]
    assert names_of(facts, " ", "fr") == ["Ananas", "Étrange", "Pêche", "Pomme"]
    pages = [search(facts, "", "fr", 3, offset) for offset in (0, 3, 6)]
    assert [[row["name"] for row in rows] for rows, _ in pages] == [["Ananas", "Étrange", "Pêche"], ["Pomme"], []]
    assert [total for _, total in pages] == [4, 4, 4]


def test_new_facts_replace_the_old(facts: Database) -> None:
    assert not store_facts(facts, facts_rows()), "they are the same"
    rows = [row for row in facts_rows("2") if row.species != "pineapple"]
    rows[0] = replace(rows[0], content={"id": "apple", "name": "New apple"}, names=("new",))
    assert store_facts(facts, rows)
    assert names_of(facts, "pineapple") == names_of(facts, "ananas", "fr") == []
    assert names_of(facts, "new") == ["New apple"] and names_of(facts, "Granny") == []
    assert names_of(facts, "Granny", "fr") == ["Pomme"]


def test_processes_may_store_facts_at_once(database: Database) -> None:
    barrier = threading.Barrier(4)

    def store(number: int) -> None:
        for version in range(5):
            barrier.wait()
            store_facts(database, facts_rows(f"{version}")[:: 1 if number % 2 else -1])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(store, range(4)))
    assert names_of(database, "pomme") == ["Apple"]
