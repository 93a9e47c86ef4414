from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.report.test_report_page import watch
from tests.support.browser import chromium
from verger.kernel.classifier.classifier import Classifier, softmax
from verger.kernel.classifier.evaluation import Judgement, evaluate_groups, evaluate_levels
from verger.kernel.classifier.levels import NOT_A_FRUIT
from verger.report.evaluation import FILE_NAME, write_evaluation_report
from verger.storage.manifest import Manifest

VARIETIES = ("Apple Granny Smith", "Apple Royal Gala", "Grape Blue", "Grape White", "Lemon", NOT_A_FRUIT)
HOSTILE = "<img src=x onerror=alert(1)>"


def write_report(
    folder: Path, labels: tuple[str, ...], truth: Sequence[str], groups: Sequence[str] | None = None
) -> Path:
    """Write an evaluation of answers that are right for two photos in three, and its report."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1, (len(truth), len(labels))).astype(np.float32)
    right = np.array([labels.index(label) if label in labels else 0 for label in truth])
    rows = np.flatnonzero(rng.random(len(truth)) < 2 / 3)
    logits[rows, right[rows]] += 4
    shape = np.zeros((len(labels), 1), np.float32)
    classifier = Classifier(labels, shape, shape[:, 0], 1, 0.6, {}, {})
    judgement = Judgement.of(classifier, softmax(logits), truth)
    evaluation = evaluate_levels(judgement, classifier.levels, 0.6)
    if groups is not None:
        evaluation["by_group"] = evaluate_groups(judgement, groups)
    (folder / FILE_NAME).write_text(json.dumps(evaluation))
    manifest = Manifest.start("evaluate", "photos", {})
    manifest.network = {"model": "fruitnet"}
    manifest.write(folder)
    return Path(str(write_evaluation_report(folder, title="judged")))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with both levels, photos without fruit, and two groups of which one has a hostile name."""
    truth = [VARIETIES[i % 6] for i in range(300)]
    return write_report(tmp_path_factory.mktemp("r"), VARIETIES, truth, ["shops"] * 200 + [HOSTILE] * 100)


def text_of(page: Path) -> str:
    html = page.read_text().split("</main>")[0].split("<main>")[1]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_the_report_shows_both_levels_refusals_and_groups(report: Path) -> None:
    evaluation = json.loads((report.parent / FILE_NAME).read_text())
    text = text_of(report)
    for value, word in (
        (evaluation["species"]["accuracy"], "accuracy of species"),
        (evaluation["accuracy"], "accuracy of labels"),
        (evaluation["species"]["fruit_answered"], "answered photos of fruit"),
        (evaluation["species"]["others_refused"], "refused of 50 photos without fruit"),
    ):
        assert f"{100 * value:.1f}% {word}" in text.replace("\u202f", "").replace("\u00a0", ""), text[:1500]
    assert "Groups of photos" in text and "shops 200" in text
    assert HOSTILE not in report.read_text() and "&lt;img src=x" in report.read_text()


def test_without_varieties_and_other_photos_there_is_one_level(tmp_path: Path) -> None:
    text = text_of(write_report(tmp_path, ("cat", "dog"), ["cat", "dog"] * 9))
    assert "accuracy 95 % confidence interval" in text and "of species" not in text
    assert "refused" not in text and "Groups of photos" not in text


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_charts_are_drawn_and_nothing_is_wider_than_the_screen(report: Path, scheme: str, width: int) -> None:
    assert charts_of(report, scheme, width) == 4


@pytest.mark.browser
@pytest.mark.parametrize(
    ("labels", "truth", "n_charts"),
    [
        (VARIETIES, ["Mango"] * 5, 4),  # no class has a photo
        (VARIETIES, ["apple"] * 5, 2),
        (("Lemon", NOT_A_FRUIT), [NOT_A_FRUIT], 2),
        (("Lemon", "Mango"), ["not-a-fruit"] * 4, 2),
    ],
)
def test_odd_evaluations_are_drawn(
    labels: tuple[str, ...], truth: list[str], n_charts: int, tmp_path: Path
) -> None:
    page = write_report(tmp_path, labels, truth)
    empty = page.read_text().count("No fruit is named.")
    assert charts_of(page, "light", 390) == n_charts - empty


def charts_of(report: Path, scheme: str, width: int) -> int:
    """Open a report; return the number of charts of calibration and coverage."""
    with chromium() as browser:
        size = {"width": width, "height": 900}
        page = browser.new_context(offline=True, viewport=size, color_scheme=scheme).new_page()
        troubles, _ = watch(page)
        page.goto(report.as_uri())
        page.locator(".scree .main-svg").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        n_charts = int(page.locator(".scree.js-plotly-plot").count())
    assert troubles == []
    return n_charts
