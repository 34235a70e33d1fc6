"""Errors of a check on one axis of decades, each beside the limits that its verdict is read from."""

import math
from collections.abc import Mapping

from erlangen.report.scales import Scale
from erlangen.report.wording import escape, figure_text

EXACT, EXACT_32, BROKEN = 1e-10, 1e-4, 0.05
_AT = Scale(1e-16, 1.0, 0.0, 100.0, log=True)


def lanes(title: str, values: Mapping[str, float], *, note: str = "") -> str:
    """A row a number: its name, its place between 10⁻¹⁶ and 1, and the number."""
    if not values:
        return ""
    rows = "".join(_lane(name, value) for name, value in values.items())
    more = f"<p>{escape(note)}</p>" if note else ""
    return f'<div class="lanes"><h4>{escape(title)}</h4>{more}{rows}</div>'


def _lane(name: str, value: float) -> str:
    at = _AT(value) if math.isfinite(value) else (100.0 if value > 0 else 0.0)
    return (
        f'<div class="lane"><span class="name">{escape(name)}</span>'
        f'<span class="track" style="--exact:{_AT(exact_limit(name))}%"><i class="{zone(value, name)}" '
        f'style="left:{at}%"></i></span><span class="num">{figure_text(value)}</span></div>'
    )


def exact_limit(name: str) -> float:
    """The largest error that is still round-off: single precision is allowed more."""
    return EXACT_32 if "float32" in name else EXACT


def zone(value: float, name: str) -> str:
    if not math.isfinite(value) or value >= BROKEN:
        return "bad"
    return "good" if value <= exact_limit(name) else "middle"


def axis() -> str:
    """The decades, and what the two dashed limits mean."""
    marks = "".join(
        f'<span style="left:{_AT(value)}%">{escape(text)}</span>'
        for value, text in ((1e-16, "10⁻¹⁶"), (EXACT, "10⁻¹⁰"), (EXACT_32, "10⁻⁴"), (1.0, "1"))
    )
    return (
        f'<div class="lane scale" aria-hidden="true"><span></span><span class="track">{marks}</span><span></span></div>'
        '<ul class="limits"><li><i class="good"></i>round-off: exact</li>'
        '<li><i class="middle"></i>noticeable, under 0.05</li><li><i class="bad"></i>0.05 and more: broken</li></ul>'
    )
