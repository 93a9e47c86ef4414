"""Matching of paths with a glob, name by name, so that a walk enters only folders that can contain a match."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from functools import lru_cache

_ANY_DEPTH = "**"

# Positions in the pattern that a path has reached. There can be several, because `**` matches any number of names.
State = frozenset[int]


class PathPattern:
    """A glob relative to a folder, such as `2024-*/**/apple*`.

    It selects each path that matches, and everything below such a path. `**` stands for any number of folders.
    Upper and lower case differ, as in file names. An empty glob selects everything.
    """

    def __init__(self, pattern: str) -> None:
        names = [name for name in pattern.split("/") if name]
        self._is_deep = [name == _ANY_DEPTH for name in names]
        self._names = [re.compile(fnmatch.translate(name)) for name in names]
        self.start: State = self._skip_deep({0})

    def enter(self, state: State, name: str) -> State:
        """Return the state of an entry called `name` of a folder; `state` is the state of the folder.

        The result is empty if neither the entry nor anything below it can match.
        """
        if not state or self.is_match(state):
            return state
        reached = set()
        for position in state:
            if self._is_deep[position]:
                reached.add(position)
            elif self._names[position].match(name):
                reached.add(position + 1)
        return self._skip_deep(reached)

    def is_match(self, state: State) -> bool:
        """Return whether a path that has this state is selected."""
        return len(self._names) in state

    def is_selected(self, names: Sequence[str]) -> bool:
        """Return whether the path that consists of these names is selected."""
        state = self.start
        for name in names:
            state = self.enter(state, name)
        return self.is_match(state)

    def _skip_deep(self, positions: set[int]) -> State:
        """Add the position after each `**`, because `**` may match no name at all."""
        reached = set(positions)
        for position in sorted(positions):
            while position < len(self._names) and self._is_deep[position]:
                position += 1
                reached.add(position)
        return frozenset(reached)


@lru_cache
def photo_names(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Return a regular expression that matches the names of photos, in upper or lower case."""
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns), re.IGNORECASE)
