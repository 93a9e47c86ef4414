from __future__ import annotations

import pytest

from verger.errors import ClassifierError, SettingsError
from verger.kernel.classifier.folds import (
    ALWAYS_TRAINED,
    assign_groups,
    assign_whole_groups,
    fold_of,
    group_of,
    group_pattern,
)
from verger.kernel.classifier.training_plan import TrainingPlan

FILMS = [f"file:/x/Apple/{axis}{n}_100.jpg" for axis in ("", "r_", "r2_") for n in range(30)]


def folds_of(paths: list[str], rule: str, n_folds: int = 3) -> dict[str, int]:
    groups = {path: group_of(path, group_pattern(rule)) for path in paths}
    group_folds = assign_groups({("Apple", group) for group in groups.values() if group is not None}, n_folds)
    return {path: fold_of(path, "Apple", groups[path], group_folds, n_folds) for path in paths}


def test_frames_of_one_film_stay_together_and_films_are_spread_over_the_folds() -> None:
    found = folds_of(FILMS, "film")
    of_film = [{found[path] for path in FILMS[start : start + 30]} for start in (0, 30, 60)]
    assert all(len(folds) == 1 for folds in of_film)
    assert set.union(*of_film) == {0, 1, 2}


def test_the_only_film_of_a_label_is_never_held_out() -> None:
    assert set(folds_of(FILMS[:30], "film").values()) == {ALWAYS_TRAINED}


def test_photos_that_are_no_frames_are_spread_one_by_one() -> None:
    found = folds_of([f"file:/x/Apple/Golden-Delicious_{n:03d}.jpg" for n in range(200)], "film")
    assert all(50 < list(found.values()).count(fold) < 85 for fold in range(3))


def test_a_pattern_captures_the_group() -> None:
    paths = [f"file:/x/Apple/{shop}-{n}.jpg" for shop in ("ica", "coop", "willys") for n in range(10)]
    found = folds_of(paths, "regex:/([a-z]+)-[0-9]+[.]jpg$")
    assert {len({found[path] for path in paths[start : start + 10]}) for start in (0, 10, 20)} == {1}
    assert len(set(found.values())) == 3


@pytest.mark.parametrize("rule", ["films", "regex:(", "regex:no-group", ""])
def test_a_bad_rule_names_the_valid_ones(rule: str) -> None:
    with pytest.raises(SettingsError, match="film, photo, none, regex:PATTERN"):
        group_pattern(rule)


def test_a_whole_group_is_in_one_fold_for_all_labels() -> None:
    pairs = {(label, shop) for label in ("Apple", "Pear") for shop in ("ica", "coop", "willys")} | {("Fig", "ica")}
    found = assign_whole_groups(pairs, 2)
    assert all(found["Apple", shop] == found["Pear", shop] for shop in ("ica", "coop", "willys"))
    assert {found["Apple", shop] for shop in ("ica", "coop", "willys")} == {0, 1, 2}
    assert found["Fig", "ica"] == ALWAYS_TRAINED


def test_many_groups_share_folds() -> None:
    found = assign_whole_groups({("Apple", f"{n:02d}") for n in range(21)}, 5)
    assert set(found.values()) == {0, 1, 2, 3, 4}
    assert len(set(assign_whole_groups({("Apple", f"{n:02d}") for n in range(20)}, 5).values())) == 20


def test_without_groups_none_can_be_left_out() -> None:
    with pytest.raises(ClassifierError, match="--group"):
        assign_whole_groups(set(), 5)


def test_photos_without_a_group_are_held_out_only_if_folds_are_not_groups() -> None:
    groups = assign_whole_groups({("Apple", "a"), ("Apple", "b")}, 5)
    leaving = TrainingPlan({"Apple": 3}, r"/([a-z])\d[.]jpg", groups, 0)
    assert leaving.fold_of("/a1.jpg", "Apple") == 0 and leaving.fold_of("/b7.jpg", "Apple") == 1
    assert leaving.fold_of("/x-1.jpg", "Apple") == ALWAYS_TRAINED
