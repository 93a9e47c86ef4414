"""The extractor and photos decoded at a reduced scale."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tests.support.networks import save_tiny_onnx
from tests.support.photos import EXIF_TURNED, encode, paint
from verger.kernel.decode import DECODER_VERSION, DEFAULT_MAX_PIXELS, limits
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.inference import Extractor, Resizer, Vector, Views, featurize_photo
from verger.kernel.networks.network import prepare_network
from verger.pipeline.fingerprint import fingerprint
from verger.tasks.featurize_batches import WorkerOptions, featurize_batches

LARGE = encode(paint(2000, 1500), "JPEG", exif=EXIF_TURNED)


@pytest.fixture(scope="module")
def fruitnet() -> Extractor:
    return Extractor(prepare_network(NetworkSpec("fruitnet")))


def cosine(one: Vector, other: Vector) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def test_a_photo_is_decoded_at_three_times_the_largest_input(tmp_path: Path) -> None:
    small, large = tmp_path / "small.onnx", tmp_path / "large.onnx"
    save_tiny_onnx(small, size_px=8)
    save_tiny_onnx(large, size_px=16)
    one = Extractor(prepare_network(NetworkSpec(f"{small}+{large}")))
    five = Extractor(prepare_network(NetworkSpec(f"{small}+{large}", views="5")))
    assert one.min_decode_px == (48, 48)
    assert five.min_decode_px == (60, 60), "the corners are 80 % of the photo"


def test_scaled_decoding_gives_nearly_the_exact_vector(fruitnet: Extractor) -> None:
    exact = featurize_photo(LARGE, fruitnet, max_pixels=DEFAULT_MAX_PIXELS)
    scaled = featurize_photo(LARGE, fruitnet, max_pixels=DEFAULT_MAX_PIXELS, decode="scaled")
    assert (scaled.sha256, scaled.width, scaled.height) == (exact.sha256, 1500, 2000)
    assert 0.999 < cosine(scaled.features, exact.features) < 1 - 1e-9


def test_scaled_decoding_leaves_small_photos_as_they_are(fruitnet: Extractor) -> None:
    width, height = fruitnet.min_decode_px
    data = encode(paint(2 * width - 1, 2 * height), "JPEG")
    exact = featurize_photo(data, fruitnet, max_pixels=DEFAULT_MAX_PIXELS)
    scaled = featurize_photo(data, fruitnet, max_pixels=DEFAULT_MAX_PIXELS, decode="scaled")
    assert np.array_equal(scaled.features, exact.features)


@pytest.mark.parametrize("views", ["whole", "crops"])
@pytest.mark.parametrize("decodes_in_child", [False, True])
def test_workers_decode_as_their_options_say(decodes_in_child: bool, views: str) -> None:
    extractor = Extractor(prepare_network(NetworkSpec("fruitnet", views=views)))
    expected = featurize_photo(LARGE, extractor, max_pixels=DEFAULT_MAX_PIXELS, decode="scaled")
    batch = pa.RecordBatch.from_pydict({"path": ["a.jpg"], "content": [LARGE]})
    options = WorkerOptions(DEFAULT_MAX_PIXELS, decodes_in_child=decodes_in_child, decode="scaled")
    (rows,) = featurize_batches([batch], extractor, options)
    (row,) = rows.to_pylist()
    assert (row["width"], row["height"]) == (1500, 2000)
    assert np.array_equal(np.array(row["features"], np.float32), expected.features)


def test_a_retry_resizes_in_the_child_too(fruitnet: Extractor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that is killed for want of memory costs one photo, a worker all of a task."""
    expected = featurize_photo(LARGE, fruitnet, max_pixels=DEFAULT_MAX_PIXELS)

    def resize(resizer: object, photo: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Resizer, "resize", resize)
    batch = pa.RecordBatch.from_pydict({"content": [LARGE]})
    (rows,) = featurize_batches([batch], fruitnet, WorkerOptions(DEFAULT_MAX_PIXELS, decodes_in_child=True))
    assert np.array_equal(np.array(rows["features"][0].as_py(), np.float32), expected.features)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), "poison: resizing it takes more memory than there is"),
        (ValueError("no such box"), "corrupt: ValueError: no such box"),
    ],
)
def test_a_photo_that_cannot_be_resized_costs_no_other(
    fruitnet: Extractor, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: str
) -> None:
    real = Resizer.resize

    def resize(resizer: Resizer, photo: Image.Image) -> Views:
        if photo.width == 31:
            raise error
        return real(resizer, photo)

    monkeypatch.setattr(Resizer, "resize", resize)
    contents = [encode(paint(width, 20), "PNG") for width in (30, 31, 32)]
    (rows,) = featurize_batches(
        [pa.RecordBatch.from_pydict({"content": contents})], fruitnet, WorkerOptions(DEFAULT_MAX_PIXELS)
    )
    found = [f"{row['reason']}: {row['detail']}" if row["reason"] else "good" for row in rows.to_pylist()]
    assert found == ["good", expected, "good"]


def test_a_photo_in_a_table_that_is_too_large_is_not_decoded(
    fruitnet: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_MORE_BYTES", -8 * DEFAULT_MAX_PIXELS + 10_000)
    contents = [encode(paint(20, 20), "PNG"), LARGE]
    (rows,) = featurize_batches(
        [pa.RecordBatch.from_pydict({"content": contents})], fruitnet, WorkerOptions(DEFAULT_MAX_PIXELS)
    )
    assert rows["reason"].to_pylist() == [None, "too-large"]


def test_a_fingerprint_contains_all_that_decoding_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    network = prepare_network(NetworkSpec("fruitnet"))
    now = hashlib.sha256(f"{network.key} 1000 exact {DECODER_VERSION}".encode()).hexdigest()[:32]
    assert fingerprint(network, 1000) == fingerprint(network, 1000, "exact") == now
    others = {fingerprint(network, 1000, "scaled"), fingerprint(network, 1001)}
    monkeypatch.setattr("verger.pipeline.fingerprint.DECODER_VERSION", DECODER_VERSION + 1)
    assert len(others | {now, fingerprint(network, 1000)}) == 4


@pytest.mark.parametrize(
    ("precision", "views"), [("f32", "whole"), ("f32", "5"), ("f32", "crops"), ("bf16", "whole")]
)
def test_photos_in_batches_have_the_bits_of_photos_alone(precision: str, views: str) -> None:
    network = prepare_network(NetworkSpec("fruitnet", precision=precision, views=views))
    fruitnet = Extractor(network)
    assert network.batch_size == fruitnet.batch_size == 4
    one_by_one = Extractor(replace(network, batch_size=1))
    photos = [fruitnet.resizer.resize(paint(100, 80, seed)) for seed in range(11)]
    alone = np.concatenate([one_by_one.infer([photo]) for photo in photos])
    assert np.array_equal(fruitnet.infer(photos), alone)
    assert np.array_equal(fruitnet.infer(photos[:1]), alone[:1])
