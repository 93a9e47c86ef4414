"""Chart that compares engines, as an SVG: for each engine, a bar from the lowest to the highest cost.

A Jinja template writes the SVG. plotly draws the report's charts, but it needs Chrome to write an SVG file.
"""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, StrictUndefined

from verger.cloud.pricing.estimate import Estimate
from verger.cloud.pricing.shapes import shape_text

_TEMPLATE = Path(__file__).with_name("chart.svg.j2")
_WIDTH, _ROW, _LEFT, _RIGHT, _TOP = 760, 26, 270, 40, 56


def svg_chart(estimates: list[Estimate]) -> str:
    """Return an SVG with one bar per estimate, in the given order; all estimates must be for the same photos."""
    photos = estimates[0].photos
    highest_eur = max(estimate.eur.high for estimate in estimates)

    def x(eur: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * eur / highest_eur

    def row(number: int, estimate: Estimate) -> dict[str, object]:
        spec, eur, hours = estimate.deployment, estimate.eur, estimate.hours
        cost = f"{eur.low:.2f} to {eur.high:.2f} EUR, likely {eur.typical:.2f}"
        label = f"{spec.provider} {spec.engine}, {shape_text(spec.shape)}"
        ends = {"low": x(eur.low), "likely": x(eur.typical), "high": x(eur.high)}
        tooltip = f"{cost}; {hours.low:.2f} to {hours.high:.2f} hours"
        return {"tooltip": tooltip, "label": label, "y": _TOP + _ROW * number + _ROW / 2, **ends}

    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(_TEMPLATE.read_text()).render(
        width=_WIDTH,
        height=_TOP + _ROW * len(estimates) + 40,
        left=_LEFT,
        top=_TOP,
        title=(
            f"{photos.count:,} photos of {photos.mean_bytes / 1000:,.1f} kB: cost in EUR, lowest to highest; "
            "the dot is the likely cost"
        ),
        ticks=[{"x": x(eur), "label": f"{eur:g}"} for eur in _ticks(highest_eur)],
        rows=[row(number, estimate) for number, estimate in enumerate(estimates)],
    )


def _ticks(highest_eur: float) -> list[float]:
    """Return about five round numbers, beginning at 0."""
    power = 10.0 ** (len(f"{highest_eur:.0f}") - 1) if highest_eur >= 1 else 0.1
    step = next(power * part for part in (0.1, 0.2, 0.5, 1, 2, 5) if highest_eur / (power * part) <= 6)
    return [round(step * number, 2) for number in range(int(highest_eur / step) + 1)]
