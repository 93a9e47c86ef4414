"""What a Spark worker does with Arrow batches of photos. Imports no pyspark: a worker starts sooner."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from verger.columns import integers, strings, vectors
from verger.decode import Content, decode_image, read_photos
from verger.errors import DecodeError, Reason
from verger.featurize.decoder import Decoder
from verger.featurize.runtime import Decode, Extractor, PhotoFeatures, PreparedPhoto, infer_photos, prepare_photo

# Rows handed to Spark at a time; wide vectors go in smaller batches.
_MAX_ROWS_OUT = 64
_MAX_BYTES_OUT = 4 << 20

CONTENT = "content"
PATH = "path"


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker reads photos: from `content_column`, or where that is absent by `path_column`.

    n_threads: so many photos of a batch are decoded at a time.
    decodes_apart: they are decoded one by one in a process of its own, which a photo may kill.
    """

    max_pixels: int
    content_column: str = CONTENT
    path_column: str = PATH
    output_column: str = "features"
    n_threads: int = 1
    decodes_apart: bool = False


Outcome = PhotoFeatures | DecodeError
Report = Callable[[int, int], None]
Map = Callable[..., Iterable[Any]]


def featurize_batches(
    batches: Iterable[pa.RecordBatch], extractor: Extractor, options: WorkerOptions, report: Report
) -> Iterator[pa.RecordBatch]:
    """Yield the incoming columns less the content, plus those of schema.OUTCOME.

    `report` is told (done, rejected) of every batch that goes out.
    """
    n_rows_out = max(1, min(_MAX_ROWS_OUT, _MAX_BYTES_OUT // (4 * extractor.n_features)))
    n_rows_out = max(1, n_rows_out // extractor.batch_size) * extractor.batch_size
    with _decoding(options) as (decode, mapped):
        for batch in batches:
            contents = _contents(batch, options)
            for start in range(0, batch.num_rows, n_rows_out):
                rows = batch.slice(start, n_rows_out)
                here = itertools.islice(contents, rows.num_rows)
                outcomes = _outcomes(here, extractor, decode, mapped)
                report(len(outcomes), sum(isinstance(outcome, DecodeError) for outcome in outcomes))
                yield _append(rows, outcomes, extractor.n_features, options)


@contextmanager
def _decoding(options: WorkerOptions) -> Iterator[tuple[Decode, Map]]:
    """Yield how to decode, and `map` to do it by: Pillow lets go of Python's lock, so that threads may share it."""
    if options.decodes_apart:
        with Decoder(options.max_pixels) as decoder:
            yield decoder.decode, map
        return
    decode = partial(decode_image, max_pixels=options.max_pixels)
    if options.n_threads == 1:
        yield decode, map
        return
    with ThreadPoolExecutor(options.n_threads, thread_name_prefix="verger-decode") as threads:
        yield decode, threads.map


def _outcomes(contents: Iterator[Content], extractor: Extractor, decode: Decode, mapped: Map) -> list[Outcome]:
    """Return what becomes of each photo, in their order: photos wait for their batch, broken ones for nothing."""
    outcomes: list[Outcome] = []
    while chosen := list(itertools.islice(contents, extractor.batch_size)):
        prepared = list(mapped(lambda content: _prepared(content, extractor, decode), chosen))
        done = iter(infer_photos([p for p in prepared if isinstance(p, PreparedPhoto)], extractor))
        outcomes += [p if isinstance(p, DecodeError) else next(done) for p in prepared]
    return outcomes


def _prepared(content: Content, extractor: Extractor, decode: Decode) -> PreparedPhoto | DecodeError:
    if isinstance(content, DecodeError):
        return content
    try:
        return prepare_photo(content, extractor, decode)
    except DecodeError as error:
        return error


def _contents(batch: pa.RecordBatch, options: WorkerOptions) -> Iterator[Content]:
    """Yield the photos' bytes, or why they cannot be had."""
    if options.content_column in batch.schema.names:
        for value in batch[options.content_column]:
            content = value.as_py()
            yield DecodeError(Reason.EMPTY, "the content is null") if content is None else content
        return
    yield from read_photos(batch[options.path_column].to_pylist())


def _append(
    rows: pa.RecordBatch, outcomes: list[Outcome], n_features: int, options: WorkerOptions
) -> pa.RecordBatch:
    done = [o if isinstance(o, PhotoFeatures) else None for o in outcomes]
    failed = [o if isinstance(o, DecodeError) else None for o in outcomes]
    kept = [name for name in rows.schema.names if name != options.content_column]
    added: dict[str, pa.Array] = {
        "sha256": strings([o.sha256 if o else None for o in done]),
        "width": integers([o.width if o else None for o in done]),
        "height": integers([o.height if o else None for o in done]),
        options.output_column: vectors([o.features if o else None for o in done], n_features),
        "reason": strings([o.reason if o else None for o in failed]),
        "detail": strings([o.detail if o else None for o in failed]),
    }
    columns = {name: rows[name] for name in kept} | added
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
