"""The "Rejected photos" section of the report: numbers by reason, and examples."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from itertools import chain, islice, zip_longest

import pyarrow as pa
import pyarrow.compute as pc

from verger.errors import Reason
from verger.report.wording import format_bytes
from verger.storage.tables import open_table, read_batches
from verger.storage.uri import AnyPath

MAX_EXAMPLES = 50

MEANINGS: dict[str, str] = {
    Reason.EMPTY: "The file has zero bytes, for example after a failed upload or copy. Copy it again.",
    Reason.UNREADABLE: "The file could not be read from the storage: missing permissions, a lost connection, or "
    "not a regular file.",
    Reason.NOT_AN_IMAGE: "The first bytes match no image format; often such a file is a web page.",
    Reason.TOO_LARGE: "The file is larger than any photo within the pixel limit; often such a file is a video.",
    Reason.TOO_MANY_PIXELS: "The photo has more pixels, or a longer side, than the limits allow. Increase "
    "--max-megapixels to accept it.",
    Reason.TRUNCATED: "The file ends before the image is complete, often after an interrupted copy. Copy it again.",
    Reason.CORRUPT: "The file is an image, but its data is damaged.",
    Reason.UNSUPPORTED: "The photo's pixel type (floating point or 32 bits) has no defined white level, or its "
    "format needs an extra: see the detail.",
    Reason.TIMEOUT: "Reading or decoding took longer than --photo-timeout-s: the storage does not answer, or the "
    "file is damaged.",
    Reason.POISON: "Decoding crashed the decoder or exceeded the memory. Inspect the file with another program.",
}
_UNKNOWN_MEANING = "This version of verger has no description of this reason."


@dataclass(frozen=True)
class ReasonCount:
    """A reason, its number of photos, and a description for the user."""

    reason: str
    n_photos: int
    meaning: str


@dataclass(frozen=True)
class Example:
    """A rejected photo; `size` is the formatted file size, empty if it is unknown."""

    path: str
    reason: str
    size: str
    detail: str


@dataclass(frozen=True)
class Rejections:
    """All reasons, the most frequent first, and at most MAX_EXAMPLES photos."""

    n_photos: int
    reasons: list[ReasonCount]
    examples: list[Example]


def count_rejections(result: AnyPath) -> Rejections | None:
    """Count `rejected` by reason, with examples in order of path; None if the result has no such table."""
    if not (result / "rejected").is_dir():
        return None
    counts: Counter[str] = Counter()
    firsts: dict[str, list[Example]] = {}
    table = open_table(result, "rejected")
    for batch in read_batches(table, ["path", "length", "reason", "detail"]) if table is not None else ():
        reasons = pc.fill_null(batch["reason"], "unknown")
        for pair in pc.value_counts(reasons).to_pylist():
            reason = pair["values"]
            counts[reason] += pair["counts"]
            found = _first_by_path(batch.filter(pc.equal(reasons, reason)), reason)
            both = firsts.get(reason, []) + found
            firsts[reason] = heapq.nsmallest(MAX_EXAMPLES, both, key=lambda example: example.path)
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return Rejections(
        n_photos=counts.total(),
        reasons=[ReasonCount(reason, n, MEANINGS.get(reason, _UNKNOWN_MEANING)) for reason, n in ranked],
        examples=_select_examples([firsts[reason] for reason, _ in ranked]),
    )


def _first_by_path(batch: pa.Table, reason: str) -> list[Example]:
    rows = batch.sort_by("path").slice(0, MAX_EXAMPLES).to_pylist()
    return [
        Example(
            path=row.get("path") or "",
            reason=reason,
            size="" if row.get("length") is None else format_bytes(row["length"]),
            detail=row.get("detail") or "",
        )
        for row in rows
    ]


def _select_examples(firsts: list[list[Example]]) -> list[Example]:
    """Select examples of all reasons in turn, so that a frequent reason does not displace the others."""
    turns = chain.from_iterable(zip_longest(*firsts))
    taken = set(islice((example for example in turns if example is not None), MAX_EXAMPLES))
    return [example for found in firsts for example in found if example in taken][:MAX_EXAMPLES]
