from __future__ import annotations

import pytest

from verger.sources.path_pattern import PathPattern


@pytest.mark.parametrize(
    ("pattern", "selected", "others"),
    [
        ("", ["a.jpg", "a/b.jpg"], []),
        ("*.jpg", ["a.jpg", "b.jpg/c.png"], ["a.png", "x/a.jpg", "a.JPG"]),
        ("a*/b", ["a1/b", "a/b/c/d.jpg"], ["a", "a/c", "x/a/b"]),
        ("**", ["a.jpg", "a/b/c.jpg"], []),
        ("**/b", ["b", "b/x.jpg", "a/b", "a/c/b/x"], ["a", "a/c", "ab"]),
        ("a/**/b/*.jpg", ["a/b/1.jpg", "a/x/y/b/1.jpg", "a/b/b/1.jpg"], ["a/1.jpg", "b/1.jpg", "a/b/c/1.jpg"]),
        ("a/**/**", ["a/b", "a/b/c", "a"], ["b"]),
        ("[ab]/?", ["a/1", "b/2"], ["c/1", "a/12", "[ab]/1"]),
        ("a\n*", ["a\nb"], ["ab", "a"]),
    ],
)
def test_a_glob_selects_what_matches_and_all_below(pattern: str, selected: list[str], others: list[str]) -> None:
    glob = PathPattern(pattern)
    assert [path for path in selected + others if glob.is_selected(path.split("/"))] == selected


def test_folders_that_cannot_contain_a_match_are_not_entered() -> None:
    glob = PathPattern("a*/b/*.jpg")
    state = glob.enter(glob.start, "a1")
    assert state and not glob.is_match(state)
    assert not glob.enter(glob.start, "b")
    assert not glob.enter(state, "c")
