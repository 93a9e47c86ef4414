"""The project's texts use none of the words that CONTRIBUTING.md lists as hard to read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = (
    *("src/**/*.py", "src/**/*.j2", "src/**/*.js", "src/**/*.css", "src/**/*.html", "src/**/*.toml", "src/**/*.sh"),
    *("docs/**/*.md", "docs/**/*.dot", "README.md", "CONTRIBUTING.md", "train/README.md", "benchmarks/*.md"),
    *("benchmarks/**/*.py", "train/*.py", "notebooks/*.py", "notebooks/*.ipynb", "scripts/*"),
    *("infra/**/*.tf", "infra/**/*.yml", "infra/**/*.yaml", "Makefile"),
)

TABLE = re.compile(r"^\| instead of \| write \|\n\|---\|---\|\n((?:\|.*\n)+)", re.MULTILINE)


def _replacements() -> dict[str, str]:
    """Return word or phrase -> what to write instead, from the table in CONTRIBUTING.md."""
    (table,) = TABLE.findall((ROOT / "CONTRIBUTING.md").read_text())
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    return {word: advice for words, advice in rows for word in words.split(", ")}


REPLACEMENTS = _replacements()
# Whole words, also as parts of identifiers; phrases also across the lines of a comment.
FORMS = "|".join(REPLACEMENTS).replace(" ", r"[\s#_/]+")
WORDS = re.compile(rf"(?<![a-z])({FORMS})(?:s|ed|ing)?(?![a-z])", re.IGNORECASE)
ALLOWED = re.compile(rf"{TABLE.pattern}|(?:\.|def )tell\(", TABLE.flags)  # the table; a method of Python's files


def _findings(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line number and the listed word for every such word in a text."""
    text = ALLOWED.sub(lambda match: re.sub(r"\S", " ", match[0]), text)
    for match in WORDS.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, re.sub(r"[\s#_/]+", " ", match[1]).lower()


def test_no_text_uses_a_listed_word() -> None:
    paths = [path for pattern in FILES for path in sorted(ROOT.glob(pattern))]
    assert len(paths) > 300
    lines = [
        f"{path.relative_to(ROOT)}:{line}: {word!r}; write instead: {REPLACEMENTS[word]}"
        for path in paths
        for line, word in _findings(path.read_text())
    ]
    assert not lines, f"{len(lines)} words that are hard to read:\n" + "\n".join(lines)


def test_forms_identifiers_and_phrases_across_lines_are_found() -> None:
    assert len(REPLACEMENTS) > 25
    text = "is_told = so\n# many\nintelligent, retold, stream.tell()\n| instead of | write |\nMended\n"
    assert list(_findings(text)) == [(1, "told"), (1, "so many"), (5, "mend")]
