from __future__ import annotations

from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verger.errors import ClassifierError
from verger.kernel.classifier.lda import (
    EMPIRICAL,
    UNIFORM,
    ClassMoments,
    Ints,
    fit_lda,
)
from verger.kernel.moments import Array

D = 6


def examples(*counts: int, d: int = D, seed: int = 0) -> tuple[Array, Ints]:
    """Vectors in clusters with correlated features, far from the origin; counts: vectors of each class."""
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    mixing = rng.normal(0, 1, (d, d))
    return rng.normal(0, 1, (len(counts), d))[classes] * 2 + 5 + rng.normal(
        0, 1, (len(classes), d)
    ) @ mixing, classes


def moments_of(vectors: Array, classes: Ints) -> ClassMoments:
    return ClassMoments.from_vectors(vectors, classes, int(classes.max()) + 1)


def decisions(coef: Array, intercept: Array, vectors: Array) -> Array:
    """Scores of all classes, in which only the differences between classes count."""
    scores = vectors @ coef.T + intercept
    return np.asarray(scores - scores.mean(axis=1, keepdims=True))


def test_moments_are_those_of_the_definition() -> None:
    vectors, classes = examples(20, 5, 1)
    found = moments_of(vectors, classes)
    assert list(found.n) == [20, 5, 1]
    scatter = np.zeros((D, D))
    for number in range(3):
        own = vectors[classes == number]
        assert np.allclose(found.mean[number], own.mean(axis=0))
        scatter += (own - own.mean(axis=0)).T @ (own - own.mean(axis=0))
    assert np.allclose(found.scatter, scatter)


@settings(deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(0, 99))
def test_merged_moments_are_those_of_all_vectors(cuts: list[int], seed: int) -> None:
    """Parts that lack some of the classes too."""
    vectors, classes = examples(30, 25, 5, seed=seed)
    bounds = sorted({0, 60, *cuts})
    parts = [ClassMoments.from_vectors(vectors[low:high], classes[low:high], 3) for low, high in pairwise(bounds)]
    found, whole = reduce(ClassMoments.merge, parts), moments_of(vectors, classes)
    assert np.array_equal(found.n, whole.n)
    assert np.allclose(found.mean, whole.mean) and np.allclose(found.scatter, whole.scatter)


def test_moments_of_other_widths_are_not_merged() -> None:
    with pytest.raises(ClassifierError, match="6 and of 4 columns"):
        moments_of(*examples(5, 5)).merge(moments_of(*examples(5, 5, d=4)))


def test_moments_are_equal_after_serializing() -> None:
    before = moments_of(*examples(5, 5))
    after = ClassMoments.from_bytes(before.to_bytes())
    assert all(np.array_equal(vars(after)[name], value) for name, value in vars(before).items())


@pytest.mark.parametrize("shrinkage", [0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("counts", [(40, 40, 40), (50, 20, 4), (3, 2, 2)], ids=["equal", "unequal", "few rows"])
def test_coefficients_are_those_of_scikit_learn(shrinkage: float, counts: tuple[int, ...]) -> None:
    analysis = pytest.importorskip("sklearn.discriminant_analysis")
    vectors, classes = examples(*counts, d=10)
    theirs = analysis.LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(vectors, classes)
    coef, intercept = fit_lda(moments_of(vectors, classes), shrinkage, EMPIRICAL)
    assert np.allclose(coef, theirs.coef_, rtol=1e-6, atol=1e-8)
    assert np.allclose(intercept, theirs.intercept_, rtol=1e-6, atol=1e-8)


def test_two_classes_differ_as_in_scikit_learn() -> None:
    analysis = pytest.importorskip("sklearn.discriminant_analysis")
    vectors, classes = examples(30, 9)
    theirs = analysis.LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2).fit(vectors, classes)
    coef, intercept = fit_lda(moments_of(vectors, classes), 0.2, EMPIRICAL)
    scores = vectors @ coef.T + intercept
    assert np.allclose(scores[:, 1] - scores[:, 0], theirs.decision_function(vectors))


def test_uniform_priors_are_scikit_learns_for_classes_of_one_size() -> None:
    analysis = pytest.importorskip("sklearn.discriminant_analysis")
    vectors, classes = examples(20, 20, 20)
    priors = [1 / 3] * 3
    theirs = analysis.LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2, priors=priors).fit(vectors, classes)
    coef, intercept = fit_lda(moments_of(vectors, classes), 0.2, UNIFORM)
    assert np.allclose(coef, theirs.coef_) and np.allclose(intercept, theirs.intercept_)


def test_uniform_priors_differ_from_empirical_ones_only_by_the_logarithm_of_the_shares() -> None:
    moments = moments_of(*examples(60, 10, 5))
    uniform, empirical = (fit_lda(moments, 0.1, priors) for priors in (UNIFORM, EMPIRICAL))
    assert np.array_equal(uniform[0], empirical[0])
    shift = empirical[1] - uniform[1]
    assert np.allclose(shift - shift[0], np.log(moments.n / moments.n[0]))


def test_a_constant_feature_has_no_influence_on_decisions() -> None:
    vectors, classes = examples(20, 30)
    constant = np.insert(vectors, 2, 7.0, axis=1)
    coef, intercept = fit_lda(moments_of(constant, classes), 0.3)
    moved = constant + np.eye(D + 1)[2] * 100
    assert np.allclose(decisions(coef, intercept, constant), decisions(coef, intercept, moved))


def test_a_class_with_one_vector_is_found() -> None:
    vectors, classes = examples(30, 30, 1)
    coef, intercept = fit_lda(moments_of(vectors, classes), 0.1)
    single = vectors[classes == 2]
    assert np.argmax(single @ coef.T + intercept) == 2


def test_a_class_without_vectors_gets_no_probability() -> None:
    vectors, classes = examples(30, 30)
    coef, intercept = fit_lda(ClassMoments.from_vectors(vectors, classes, 3), 0.1)
    assert intercept[2] == -np.inf and not coef[2].any()
    two_coef, two_intercept = fit_lda(moments_of(vectors, classes), 0.1)
    assert np.array_equal(coef[:2], two_coef) and np.array_equal(intercept[:2], two_intercept)


def test_single_vectors_are_too_few() -> None:
    with pytest.raises(ClassifierError, match="two different photos"):
        fit_lda(moments_of(*examples(1, 1, 1)), 0.5)
