"""Find the innermost error in the text of a Python traceback, as a child process writes it."""

from __future__ import annotations

import re

_DIRECT_CAUSE = "The above exception was the direct cause of the following exception:"
_TRACEBACK = "Traceback (most recent call last):"

# The last line of a traceback begins with the name of the exception, without indentation.
_ERROR = re.compile(r"^(?:[A-Za-z_]\w*\.)*([A-Z]\w*|[a-z]\w*[Ee]rror)(?::[ ]?(.*))?$")


def innermost_error(text: str) -> str | None:
    """Return "Class: message" of the innermost error in the last traceback of a text; None if there is none."""
    if _TRACEBACK not in text:
        return None
    chains = text.split(_DIRECT_CAUSE)
    first = next(number for number in range(len(chains)) if _is_last_chain(chains, number))
    lines = chains[first].rpartition(_TRACEBACK)[2].splitlines()
    for line in lines[1:]:
        if line[:1].isspace() or not (match := _ERROR.match(line)):
            continue
        return f"{match[1]}: {match[2].strip()}" if match[2] else match[1]
    return None


def _is_last_chain(chains: list[str], number: int) -> bool:
    """Return whether the texts from `number` on belong to one chain: each later text has only one traceback."""
    return all(chain.count(_TRACEBACK) == 1 for chain in chains[number + 1 :])
