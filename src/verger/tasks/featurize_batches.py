"""Compute the outcome of each photo in Arrow batches: its features, or the reason for its rejection."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from verger.errors import DecodeError, Reason
from verger.kernel.decode import check_file_size, decode_image
from verger.kernel.networks.inference import (
    DecodeMode,
    Extractor,
    PhotoFeatures,
    PreparedPhoto,
    infer_photos,
    needed_size_px,
    prepare_photo,
)
from verger.sources.content import Content, Read, read_photo, read_photos
from verger.storage.arrow import integers, strings, vectors
from verger.storage.schemas import OUTCOME
from verger.tasks.child_decoder import ChildDecoder
from verger.tasks.earlier_features import EARLIER, EarlierFeatures, ReusedFeatures

# Limits on an output batch, in rows and in bytes. A batch of wide vectors reaches the limit in bytes first.
_MAX_ROWS_OUT = 64
_MAX_BYTES_OUT = 4 << 20

CONTENT = "content"
PATH = "path"


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker reads and decodes photos.

    content_column: the bytes of photos. If a table has no such column, the files in `path_column` are read.
    n_threads: number of threads that decode the photos of a batch.
    decodes_in_child: read local photos, decode and resize them one by one in a child process, so that a bad photo
    cannot kill the worker. photo_timeout_s: the child's time limit for reading and for decoding one photo.
    decode: "scaled" decodes large JPEGs at a reduced scale.
    """

    max_pixels: int
    content_column: str = CONTENT
    path_column: str = PATH
    output_column: str = "features"
    n_threads: int = 1
    decodes_in_child: bool = False
    photo_timeout_s: float | None = None
    decode: DecodeMode = "exact"


@dataclass
class WorkerTimes:
    """Seconds that a worker spent on decoding and resizing photos, and on inference."""

    preparing_s: float = 0.0
    inferring_s: float = 0.0


Outcome = PhotoFeatures | DecodeError
Map = Callable[..., Iterable[Any]]
Prepare = Callable[[bytes], PreparedPhoto]
PrepareAll = Callable[[list[Content]], Iterable[PreparedPhoto | Outcome]]


def featurize_batches(
    batches: Iterable[pa.RecordBatch], extractor: Extractor, options: WorkerOptions
) -> Iterator[pa.RecordBatch]:
    """Yield the batches without the content column, and with the columns of schemas.OUTCOME."""
    for rows, outcomes in compute_outcomes(batches, extractor, options):
        yield _append(rows, outcomes, extractor.n_features, options)


def compute_outcomes(
    batches: Iterable[pa.RecordBatch],
    extractor: Extractor,
    options: WorkerOptions,
    earlier: EarlierFeatures | None = None,
    on_photo: Callable[[], None] = lambda: None,
    times: WorkerTimes | None = None,
) -> Iterator[tuple[pa.RecordBatch, list[Outcome]]]:
    """Yield batches of rows with the outcome of each row, in the order of the rows.

    earlier: features of earlier runs, to be reused. on_photo: called before a photo is read, and before it is
    decoded. times: the object to which the seconds of this work are added.
    """
    times = times or WorkerTimes()
    n_rows_out = max(1, min(_MAX_ROWS_OUT, _MAX_BYTES_OUT // (4 * extractor.n_features)))
    n_rows_out = max(1, n_rows_out // extractor.batch_size) * extractor.batch_size
    with _preparing(options, extractor) as (read, prepare, mapped):
        prepare_one = partial(_prepared, prepare=prepare, earlier=earlier, on_photo=on_photo)
        for batch in batches:
            reused = _reused_by_row(batch, options, earlier)
            contents = _contents(batch, reused, options, partial(_read, read=read, on_photo=on_photo))
            for start in range(0, batch.num_rows, n_rows_out):
                rows = batch.slice(start, n_rows_out)
                reused_here = reused[start : start + n_rows_out]
                contents_here = itertools.islice(contents, reused_here.count(None))
                computed = iter(_outcomes(contents_here, extractor, partial(mapped, prepare_one), times))
                yield rows, [next(computed) if one is None else one for one in reused_here]


def _reused_by_row(
    batch: pa.RecordBatch, options: WorkerOptions, earlier: EarlierFeatures | None
) -> list[ReusedFeatures | None]:
    """Return the features of each photo that has a row id in the column EARLIER, otherwise None."""
    if earlier is None or EARLIER not in batch.schema.names:
        return [None] * batch.num_rows
    paths = batch[options.path_column].to_pylist()
    row_ids = batch[EARLIER].to_pylist()
    return [
        None if row_id is None else earlier.features_at(row_id, path)
        for row_id, path in zip(row_ids, paths, strict=True)
    ]


@contextmanager
def _preparing(options: WorkerOptions, extractor: Extractor) -> Iterator[tuple[Read, Prepare, Map]]:
    """Yield the function that reads a photo, the function that prepares it, and a `map` to prepare many photos.

    The `map` may use threads, because Pillow releases the GIL.
    """
    read = partial(read_photo, max_pixels=options.max_pixels)
    min_size_px = needed_size_px(extractor, options.decode)
    decode = partial(decode_image, max_pixels=options.max_pixels, min_size_px=min_size_px)
    prepare = partial(prepare_photo, resizer=extractor.resizer, decode=decode)
    if options.decodes_in_child:
        with ChildDecoder(options.photo_timeout_s) as child:
            yield partial(child.read, max_pixels=options.max_pixels), partial(child.run, prepare), map
        return
    if options.n_threads == 1:
        yield read, prepare, map
        return
    with ThreadPoolExecutor(options.n_threads, thread_name_prefix="verger-decode") as threads:
        yield read, prepare, threads.map


def _outcomes(
    contents: Iterator[Content], extractor: Extractor, prepare_all: PrepareAll, times: WorkerTimes
) -> list[Outcome]:
    """Return the outcome of each photo, in order; inference runs in batches of `extractor.batch_size`."""
    outcomes: list[Outcome] = []
    while chosen := list(itertools.islice(contents, extractor.batch_size)):
        started = time.perf_counter()
        prepared = list(prepare_all(chosen))
        decoded = time.perf_counter()
        done = iter(infer_photos([p for p in prepared if isinstance(p, PreparedPhoto)], extractor))
        times.preparing_s += decoded - started
        times.inferring_s += time.perf_counter() - decoded
        outcomes += [next(done) if isinstance(p, PreparedPhoto) else p for p in prepared]
    return outcomes


def _prepared(
    content: Content, *, prepare: Prepare, earlier: EarlierFeatures | None, on_photo: Callable[[], None]
) -> PreparedPhoto | Outcome:
    on_photo()
    if isinstance(content, DecodeError):
        return content
    if (
        earlier is not None
        and (same := earlier.features_of_content(hashlib.sha256(content).hexdigest())) is not None
    ):
        return same
    try:
        return prepare(content)
    except DecodeError as error:
        return error


def _read(uri: str, *, read: Read, on_photo: Callable[[], None]) -> bytes:
    on_photo()
    return read(uri)


def _contents(
    batch: pa.RecordBatch, reused: Sequence[ReusedFeatures | None], options: WorkerOptions, read_local: Read
) -> Iterator[Content]:
    """For each photo that has no reused features, yield its bytes, or the error that prevents reading them."""
    if options.content_column in batch.schema.names:
        for value in itertools.compress(batch[options.content_column], (one is None for one in reused)):
            yield _content_of(value, options.max_pixels)
        return
    paths = batch[options.path_column].to_pylist()
    todo = [path for path, one in zip(paths, reused, strict=True) if one is None]
    yield from read_photos(todo, options.max_pixels, read_local)


def _content_of(value: pa.BinaryScalar, max_pixels: int) -> Content:
    """Return the bytes in a cell of a table, or a DecodeError. The bytes of a too large file are not copied."""
    if not value.is_valid:
        return DecodeError(Reason.EMPTY, "the content is null")
    try:
        check_file_size(value.as_buffer().size, max_pixels)
        content: bytes = value.as_py()
    except DecodeError as error:
        return error
    except MemoryError:
        return DecodeError(Reason.POISON, "reading it takes more memory than there is")
    return content


def _append(
    rows: pa.RecordBatch, outcomes: Sequence[Outcome], n_features: int, options: WorkerOptions
) -> pa.RecordBatch:
    kept = {name: rows[name] for name in rows.schema.names if name != options.content_column}
    added = outcome_columns(outcomes, n_features)
    added[options.output_column] = added.pop("features")
    names = [options.output_column if name == "features" else name for name in OUTCOME.names]
    columns = kept | {name: added[name] for name in names}
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def outcome_columns(outcomes: Sequence[Outcome], n_features: int) -> dict[str, pa.Array]:
    """Return the columns of schemas.OUTCOME by name."""
    done = [o if isinstance(o, PhotoFeatures) else None for o in outcomes]
    failed = [o if isinstance(o, DecodeError) else None for o in outcomes]
    arrays = (
        strings([o.sha256 if o else None for o in done]),
        integers([o.width if o else None for o in done]),
        integers([o.height if o else None for o in done]),
        vectors([o.features if o else None for o in done], n_features),
        strings([o.reason if o else None for o in failed]),
        strings([o.detail if o else None for o in failed]),
    )
    return dict(zip(OUTCOME.names, arrays, strict=True))
