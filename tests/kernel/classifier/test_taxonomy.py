from __future__ import annotations

import re
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from verger.kernel.classifier import taxonomy
from verger.kernel.classifier.taxonomy import (
    Taxon,
    is_general,
    names_variety,
    read_taxonomy,
    taxon_named,
    taxon_of,
)
from verger.sample import KINDS

BINOMIAL = re.compile(r"[A-Z][a-z]+ (\N{MULTIPLICATION SIGN} )?[a-z]+(-[a-z]+)?( var\. [a-z]+)?")


def labels_of(source: str) -> set[str]:
    return {label for where, label in read_taxonomy() if where == source}


def labels_in(archive: Path, folder: str = "") -> set[str]:
    if not archive.is_file():
        pytest.skip(f"needs the real photos in {archive}")
    with tarfile.open(archive) as members:
        names = [name for name in members.getnames() if name.startswith(folder)]
        return {PurePosixPath(name).parent.name for name in names if name.endswith(".jpg")}


@pytest.mark.parametrize(
    ("source", "archive", "count"),
    [("fruits360", "fruits360-test.tar", 103), ("grocery", "grocery-trainval.tar", 28)],
)
def test_every_label_of_the_data_sets_is_known(shared: Path, source: str, archive: str, count: int) -> None:
    assert labels_of(source) == labels_in(shared / "data" / archive)
    assert len(labels_of(source)) == count


def test_every_kind_of_fruit_of_the_flickr_photos_is_known_as_a_species(shared: Path) -> None:
    archive = shared / "data" / "snacks.tar"
    fruit, other = labels_in(archive, "snacks/fruit/"), labels_in(archive, "snacks/other/")
    assert labels_of("snacks") == fruit and len(fruit) == 7
    for label in fruit:
        taxon = taxon_of(label, "snacks")
        assert taxon is not None and (taxon.name, taxon.variety) == (label.capitalize(), "")
        assert taxon == taxon_of(label) and not names_variety(label)
    assert not any(taxon_of(label) for label in other)


@pytest.mark.parametrize(
    ("label", "general"),
    [("Grape", True), ("grape", True), ("Apple", True), ("Grape Blue", False), ("Banana", False), ("cat", False)],
)
def test_a_label_is_general_if_only_data_sets_without_varieties_have_it(label: str, general: bool) -> None:
    assert is_general(label) == general


def test_the_renders_are_known_as_species() -> None:
    assert labels_of("render") == set(KINDS)
    for kind in KINDS:
        taxon = taxon_of(kind, "render")
        assert taxon is not None and (taxon.name, taxon.variety) == (kind, "")


def test_a_species_has_one_latin_english_and_french_name() -> None:
    taxa = set(read_taxonomy().values())
    species = {(taxon.species, taxon.latin, taxon.english, taxon.french) for taxon in taxa}
    for names in zip(*species, strict=True):
        # In both directions: two keys that share a name would be one fruit under two classes.
        assert len(set(names)) == len(species), sorted(name for name in names if names.count(name) > 1)


def test_names_are_clean() -> None:
    for taxon in read_taxonomy().values():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", taxon.species), taxon
        assert BINOMIAL.fullmatch(taxon.latin), taxon
        for shown in (taxon.english, taxon.french):
            assert shown and shown == shown.strip() and shown[0].isupper(), taxon
        # Neither the number of a film nor the fruit over again.
        assert not re.search(r"[0-9_-]", taxon.variety) and taxon.english not in taxon.variety, taxon


def test_a_name_stands_for_one_class() -> None:
    taxa = set(read_taxonomy().values())
    assert len({taxon.name for taxon in taxa}) == len(taxa)
    assert all(taxon_named(taxon.name) == taxon for taxon in taxa)
    assert taxon_named("Triffid") is None


@pytest.mark.parametrize(
    ("label", "name", "latin"),
    [
        ("Apple Granny Smith", "Apple Granny Smith", "Malus domestica"),
        ("Granny-Smith", "Apple Granny Smith", "Malus domestica"),
        ("Apple Golden 3", "Apple Golden Delicious", "Malus domestica"),
        ("Golden-Delicious", "Apple Golden Delicious", "Malus domestica"),
        ("Kaiser", "Pear Kaiser", "Pyrus communis"),
        ("Cantaloupe 2", "Melon Cantaloupe", "Cucumis melo"),
        ("Cantaloupe", "Melon Cantaloupe", "Cucumis melo"),
        ("Maracuja", "Passion fruit Yellow", "Passiflora edulis"),
        ("Passion-Fruit", "Passion fruit Purple", "Passiflora edulis"),
        ("Avocado ripe", "Avocado", "Persea americana"),
        ("Tomato 4", "Tomato", "Solanum lycopersicum"),
        ("Limes", "Lime", "Citrus \N{MULTIPLICATION SIGN} latifolia"),
        ("Carambula", "Star fruit", "Averrhoa carambola"),
        ("Pitahaya Red", "Dragon fruit Red", "Selenicereus undatus"),
    ],
)
def test_labels_map_to_taxa(label: str, name: str, latin: str) -> None:
    taxon = taxon_of(label)
    assert taxon is not None and (taxon.name, taxon.latin) == (name, latin)


def test_folders_are_found_without_their_source_and_spelt_otherwise() -> None:
    for (source, label), taxon in read_taxonomy().items():
        assert taxon_of(label, source) == taxon
        assert taxon_of(label.upper().replace("-", " ")) == taxon
        assert taxon_of(label.lower().replace(" ", "_")) == taxon


def test_an_unknown_label_is_none() -> None:
    assert taxon_of("Triffid") is None
    assert taxon_of("") is None
    assert taxon_of("Kaki", "grocery") is None


def test_a_label_on_which_sources_disagree_needs_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    fruit = Taxon("lime", "Citrus \N{MULTIPLICATION SIGN} latifolia", "Lime", "Citron vert", "")
    tree = Taxon("linden", "Tilia cordata", "Linden", "Tilleul", "")
    monkeypatch.setattr(taxonomy, "read_taxonomy", lambda: {("shop", "Lime"): fruit, ("wood", "lime"): tree})
    assert taxon_of("Lime") is None
    assert taxon_of("Lime", "wood") == tree
