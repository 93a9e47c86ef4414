"""report.html of a fine-tuning: the training curves and the accuracy per label."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from verger.learn.finetune.training_outcome import HISTORY
from verger.report.details import list_details
from verger.report.header import Tile
from verger.report.html import render_page, write_page
from verger.report.rejections import MEANINGS
from verger.report.wording import format_count, format_duration, format_share, format_time
from verger.storage.manifest import read_manifest
from verger.storage.uri import AnyPath

FACTS = "finetune.json"

_MAX_LABELS = 1000
_MAX_REJECTED = 50


def write_finetune_report(result: Path, *, title: str) -> AnyPath:
    """Write report.html from finetune.json, history.json and manifest.json in `result`; return its path."""
    facts = json.loads((result / FACTS).read_text(encoding="utf-8"))
    history = json.loads((result / HISTORY).read_text())
    shown = {
        "title": title,
        "it": facts,
        "tiles": _make_tiles(facts, len(history)),
        "made": format_time(facts["created"]),
        "labels": sorted(facts["labels"], key=_hardest_first)[:_MAX_LABELS],
        "rejected": facts["rejected"][:_MAX_REJECTED],
        "meanings": MEANINGS,
        "details": list_details(read_manifest(result)),
    }
    data = {"history": history, "best": facts["best_epoch"]}
    return write_page(render_page("finetune", data, with_plots=True, **shown), result)


def _hardest_first(label: dict[str, Any]) -> tuple[bool, float]:
    return label["accuracy"] is None, label["accuracy"] or 0.0


def _make_tiles(facts: dict[str, Any], n_epochs: int) -> list[Tile]:
    counts = facts["counts"]
    by_label = [label["accuracy"] for label in facts["labels"] if label["accuracy"] is not None]
    return [
        Tile(format_share(facts["validation_accuracy"]), "accuracy", "on the validation photos"),
        Tile(format_share(sum(by_label) / len(by_label)), "mean of the labels", "all labels have equal weight"),
        Tile(format_count(counts["labels"]), "labels"),
        Tile(format_count(counts["training"]), "training photos"),
        Tile(format_count(counts["validation"]), "validation photos", "whole films, if a label has several films"),
        Tile(
            format_count(counts["rejected"]), "rejected", "" if counts["rejected"] else "all photos could be read"
        ),
        Tile(format_count(facts["best_epoch"]), "best epoch", f"of {n_epochs}"),
        Tile(format_duration(facts["seconds"]["total"]), "total time"),
    ]
