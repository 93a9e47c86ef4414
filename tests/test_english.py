"""The project's texts use none of the words that CONTRIBUTING.md lists as hard to read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

# Word or phrase -> what to write instead. "|" separates the forms of a word.
REPLACEMENTS = {
    "told|tell|tells|telling": "report, describe, message",
    "anew": "again",
    "mend|mends|mended|mending": "fix, repair",
    "alike": "the same, equal",
    "whoever": "anyone who, or the role: the user, the caller",
    "whatever": "any, all, regardless of",
    "nobody": "no one, or a passive",
    "somebody|anybody": "someone, anyone, or the role",
    "whom": "another sentence",
    "so many": "N, a number, the count",
    "less what": "excluding",
    "lest": "otherwise",
    "heed|heeds|heeded": "check, follow",
    "asked of|asks of": "requested from",
    "of one's own": "its own, separate",
    "is had|are had": "has, is available",
    "lend|lends|lent": "share, pass",
    "brought": "added, uploaded, included",
    "betimes": "early",
    "far-fetched": "strong, unlikely",
    "unhurried": "slow",
    "in words": "as text",
    "thereof": "of it",
    "hereby": "with this",
    "as it were": "nothing",
}

FILES = [
    *("src/**/*.py", "src/**/*.j2", "src/**/*.js", "src/**/*.css", "src/**/*.html", "src/**/*.toml", "src/**/*.sh"),
    *("docs/**/*.md", "docs/**/*.dot", "README.md", "CONTRIBUTING.md", "train/README.md", "benchmarks/*.md"),
    *("infra/**/*.tf", "infra/**/*.yml", "infra/**/*.yaml", "Makefile"),
]

ENGLISH = re.compile(r"^## English$.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)  # the table of CONTRIBUTING.md
ALLOWED = re.compile(rf"{ENGLISH.pattern}|\.tell\(", ENGLISH.flags)  # and the method of Python's files


def _pattern(forms: str) -> re.Pattern[str]:
    """Return a pattern of whole words, also as parts of an identifier, and of phrases, also across lines."""
    words = "|".join(re.escape(form).replace(r"\ ", r"[\s#_/]+") for form in forms.split("|"))
    return re.compile(rf"(?<![A-Za-z])(?:{words})(?![A-Za-z])", re.IGNORECASE)


PATTERNS = {_pattern(forms): replacement for forms, replacement in REPLACEMENTS.items()}


def _findings(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line, word, replacement) for every listed word in a text."""
    blanked = ALLOWED.sub(lambda match: re.sub(r"\S", " ", match[0]), text)
    for pattern, replacement in PATTERNS.items():
        for match in pattern.finditer(blanked):
            yield blanked.count("\n", 0, match.start()) + 1, " ".join(match[0].split()), replacement


def test_texts_use_none_of_the_listed_words() -> None:
    lines = [
        f"{path.relative_to(ROOT)}:{line}: {word!r}; write instead: {replacement}"
        for pattern in FILES
        for path in sorted(ROOT.glob(pattern))
        for line, word, replacement in _findings(path.read_text())
    ]
    assert not lines, f"{len(lines)} words that are hard to read:\n" + "\n".join(lines)


def test_contributing_names_every_listed_word() -> None:
    (table,) = ENGLISH.findall((ROOT / "CONTRIBUTING.md").read_text())
    missing = [forms for forms in REPLACEMENTS if forms.split("|")[0] not in table]
    assert not missing


def test_words_are_found_in_identifiers_and_across_lines() -> None:
    text = "is_told = so\n# many\nintelligent, retold, stream.tell()\n## English\nanew\n## Next\nAnew\n"
    assert sorted((line, word) for line, word, _ in _findings(text)) == [(1, "so # many"), (1, "told"), (7, "Anew")]
