from __future__ import annotations

import numpy as np
import pytest

from verger.kernel.classifier.transforms import TRANSFORMS, transform

VECTORS = np.random.default_rng(0).normal(0, 3, (50, 7)).astype(np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def test_none_changes_nothing() -> None:
    assert np.array_equal(transform("none", VECTORS), VECTORS)


def test_l2_gives_vectors_of_length_one() -> None:
    assert np.allclose(transform("l2", VECTORS), unit(VECTORS), atol=1e-6)


def test_signed_sqrt_is_the_root_of_unit_vectors_at_length_one() -> None:
    scaled = unit(VECTORS.astype(np.float64))
    expected = unit(np.sign(scaled) * np.sqrt(np.abs(scaled)))
    assert np.allclose(transform("signed-sqrt", VECTORS), expected, atol=1e-6)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_vectors_of_zeros_stay_zeros_and_types_become_float32(name: str) -> None:
    found = transform(name, np.zeros((2, 3)))
    assert found.dtype == np.float32 and not found.any()


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_vector_is_transformed_without_regard_to_its_neighbours(name: str) -> None:
    assert np.array_equal(transform(name, VECTORS)[10:11], transform(name, VECTORS[10:11]))


def test_the_input_is_not_changed() -> None:
    before = VECTORS.copy()
    for name in TRANSFORMS:
        transform(name, VECTORS)
    assert np.array_equal(before, VECTORS)
