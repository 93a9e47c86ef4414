"""Format counts, shares, durations, sizes and times for the user."""

from __future__ import annotations

from datetime import datetime


def format_count(n: float) -> str:
    """Return 12,345 for 12345."""
    return f"{n:,.0f}"


def format_share(share: float) -> str:
    """Return 90.0% for 0.9; values close to 0 or 1 become <0.1% or >99.9%."""
    percent = 100 * share
    if 99.95 <= percent < 100:
        return ">99.9%"
    if 0 < percent < 0.05:
        return "<0.1%"
    return f"{percent:.1f}%"


def format_duration(duration_s: float) -> str:
    """Return 8.4 s, 1 min 05 s or 2 h 07 min."""
    if duration_s < 0.95:
        return f"{duration_s:.2f} s"
    if duration_s < 59.95:
        return f"{duration_s:.1f} s"
    minutes, seconds = divmod(round(duration_s), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    hours, minutes = divmod(round(duration_s / 60), 60)
    return f"{hours} h {minutes:02d} min"


def format_rate(per_s: float) -> str:
    """Return a rate with one decimal below 100 (9.5), without decimals from 100 on (231)."""
    return f"{per_s:.1f}" if per_s < 100 else format_count(per_s)


def format_criterion(criterion: str) -> str:
    """Return the criterion of a reduction with a mathematical sign, such as variance ≥ 0.8."""
    return criterion.replace(">= ", "\u2265\u00a0")


def format_bytes(n_bytes: float) -> str:
    """Return 512 bytes, 4.1 kB or 12.3 MB."""
    if n_bytes < 1000:
        return f"{n_bytes:.0f} byte{'' if n_bytes == 1 else 's'}"
    for unit in ("kB", "MB", "GB"):
        n_bytes /= 1000
        if n_bytes < 999.95 or unit == "GB":
            break
    return f"{n_bytes:,.1f} {unit}"


def format_time(iso: str) -> str:
    """Return 2026-03-12 14:05 UTC for an ISO 8601 time; return any other text unchanged."""
    try:
        when = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    zone = when.tzname() or ""
    return f"{when:%Y-%m-%d %H:%M} {zone}".strip()
