"""Engines side by side as a picture: an SVG with a bar from the least to the most that each may cost."""

from __future__ import annotations

from html import escape

from verger.cloud.pricing.estimate import Estimate
from verger.cloud.pricing.shapes import shape_text

_WIDTH, _ROW, _LEFT, _RIGHT, _TOP = 760, 26, 270, 40, 56


def chart(estimates: list[Estimate]) -> str:
    """Return an SVG of estimates of the same photos, in their order."""
    photos = estimates[0].photos
    most = max(estimate.eur.high for estimate in estimates)
    height = _TOP + _ROW * len(estimates) + 40
    title = (
        f"{photos.count:,} photos of {photos.mean_bytes / 1000:,.1f} kB: EUR, at least to at most; likely: the dot"
    )
    rows = [_row(estimate, number, most) for number, estimate in enumerate(estimates)]
    axis = [_mark(eur, most, height) for eur in _ticks(most)]
    frame = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"'
    lines = [
        f'<svg {frame} font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        _text(_WIDTH / 2, 24, title, "middle"),
        *axis,
        *rows,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _row(estimate: Estimate, number: int, most: float) -> str:
    """A label, a bar and a dot; the hours stand behind them, for who points at it."""
    made, eur, hours = estimate.deployment, estimate.eur, estimate.hours
    y = _TOP + _ROW * number + _ROW / 2
    low, likely, high = (_x(value, most) for value in (eur.low, eur.typical, eur.high))
    label = f"{made.provider} {made.engine}, {shape_text(made.shape)}"
    told = (
        f"{eur.low:.2f} to {eur.high:.2f} EUR, likely {eur.typical:.2f}; {hours.low:.2f} to {hours.high:.2f} hours"
    )
    return (
        f"<g><title>{escape(told)}</title>{_text(_LEFT - 12, y + 4, label, 'end')}"
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke="#2a9d8f" stroke-width="10" opacity="0.4"/>'
        f'<circle cx="{likely:.1f}" cy="{y}" r="5" fill="#1d6f66"/></g>'
    )


def _mark(eur: float, most: float, height: float) -> str:
    x = _x(eur, most)
    line = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 8}" y2="{height - 32}" stroke="#ddd"/>'
    return line + _text(x, height - 14, f"{eur:g}", "middle")


def _ticks(most: float) -> list[float]:
    """Round numbers from nought, five or so."""
    power = 10.0 ** (len(f"{most:.0f}") - 1) if most >= 1 else 0.1
    step = next(power * part for part in (0.1, 0.2, 0.5, 1, 2, 5) if most / (power * part) <= 6)
    return [round(step * number, 2) for number in range(int(most / step) + 1)]


def _x(eur: float, most: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * eur / most


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#333">{escape(words)}</text>'
