"""The picture of the rejected photos: how many, why, and some to look at."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from itertools import chain, islice, zip_longest

import pyarrow as pa
import pyarrow.compute as pc

from verger.errors import Reason
from verger.report.wording import say_bytes
from verger.storage.tables import open_table, read_batches
from verger.storage.uri import AnyPath

MAX_EXAMPLES = 50

MEANINGS: dict[str, str] = {
    Reason.EMPTY: "The file has zero bytes: an upload or a copy that never happened. Fetch it again.",
    Reason.UNREADABLE: "The storage refused to give the file: permissions, or a lost connection.",
    Reason.NOT_AN_IMAGE: "Its first bytes are of no image format: often a web page.",
    Reason.TOO_LARGE: "The file is larger than any photo of so many pixels: often a video, or a damaged disk.",
    Reason.TOO_MANY_PIXELS: "More pixels, or a longer side, than the limits allow. Raise --max-megapixels if the "
    "photo is genuine.",
    Reason.TRUNCATED: "The file ends before the picture does: a transfer that was cut off. Fetch it again.",
    Reason.CORRUPT: "It is an image, but damaged inside: no program can show it whole.",
    Reason.UNSUPPORTED: "Its pixels are measurements (floating point, 32 bits) without an agreed white.",
    Reason.TIMEOUT: "Decoding it took longer than the limit (--photo-timeout-s). Look at it elsewhere.",
    Reason.POISON: "Decoding it crashed the decoder, or took more memory than there was. Look at it elsewhere.",
}
_UNKNOWN_MEANING = "A reason that this version of the report does not know."


@dataclass(frozen=True)
class ReasonCount:
    """A reason, its photos, and what it means in words."""

    reason: str
    n_photos: int
    meaning: str


@dataclass(frozen=True)
class Example:
    """One rejected photo; `size` is its bytes in words, empty where unknown."""

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
    """Count `rejected` by reason, with the first examples by path; None where nothing could be rejected."""
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
        examples=_share_out([firsts[reason] for reason, _ in ranked]),
    )


def _first_by_path(batch: pa.Table, reason: str) -> list[Example]:
    rows = batch.sort_by("path").slice(0, MAX_EXAMPLES).to_pylist()
    return [
        Example(
            path=row.get("path") or "",
            reason=reason,
            size="" if row.get("length") is None else say_bytes(row["length"]),
            detail=row.get("detail") or "",
        )
        for row in rows
    ]


def _share_out(firsts: list[list[Example]]) -> list[Example]:
    """Take turns among the reasons, so that a frequent one does not hide the others; then by reason again."""
    turns = chain.from_iterable(zip_longest(*firsts))
    taken = set(islice((example for example in turns if example is not None), MAX_EXAMPLES))
    return [example for found in firsts for example in found if example in taken][:MAX_EXAMPLES]
