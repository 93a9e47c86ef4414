"""The report of `verger train` and `verger evaluate`: accuracy, confusions and calibration of a classifier."""

from __future__ import annotations

import json
from typing import Any

from verger.report.html import render_page, write_page
from verger.storage.uri import AnyPath

FILE_NAME = "evaluation.json"
MAX_CONFUSION_LABELS = 150  # the confusion matrix shows the labels with the most errors


def write_evaluation_report(result: AnyPath, *, title: str) -> AnyPath:
    """Write report.html from evaluation.json and manifest.json in the folder `result`; return its path."""
    evaluation = json.loads((result / FILE_NAME).read_text())
    manifest = json.loads((result / "manifest.json").read_text())
    confusion, levels = confusion_matrix(evaluation), _levels(evaluation)
    data = {"confusion": confusion, "levels": [_charts(scores) for scores in levels.values()]}
    shown = {
        "title": title,
        "labels": evaluation,
        "species": evaluation["species"],
        "levels": levels,
        "cv": evaluation.get("cross_validation"),
        "groups": evaluation.get("by_group", []),
        "manifest": manifest,
        "rows": sorted(evaluation["per_class"], key=lambda row: (row["f1"], row["label"])),
        "confusion": confusion,
    }
    return write_page(render_page("evaluation", data, with_plots=True, **shown), result)


def _levels(evaluation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the metrics of each level by its name; one level without a name if both are equal."""
    species = evaluation["species"]
    return {"species": species, "labels": evaluation} if species["has_varieties"] else {"": species}


def _charts(scores: dict[str, Any]) -> dict[str, Any]:
    return {
        "reliability": scores["reliability"],
        "coverage": scores["coverage_curve"],
        "chosen": [scores["coverage"], scores["accuracy_when_sure"]],
    }


def confusion_matrix(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Return the labels and the rows of the matrix: a row has, for one true label, the share of each prediction."""
    totals = {row["label"]: row["n_photos"] for row in evaluation["per_class"]}
    wrong = dict.fromkeys(totals, 0)
    for true, predicted, n in evaluation["confusions"]:
        if true != predicted:
            wrong[true] += n
            wrong[predicted] += n
    labels = sorted(sorted(totals, key=lambda label: -wrong[label])[:MAX_CONFUSION_LABELS])
    number = {label: i for i, label in enumerate(labels)}
    shares: list[list[float | None]] = [[None] * len(labels) for _ in labels]
    for true, predicted, n in evaluation["confusions"]:
        if true in number and predicted in number:
            shares[number[true]][number[predicted]] = round(n / totals[true], 4)
    return {"labels": labels, "shares": shares, "n_left_out": len(totals) - len(labels)}
