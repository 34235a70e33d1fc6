"""The dot-and-whisker of the verdict table: value, interval, reference band and threshold on one small axis."""

import math
from collections.abc import Mapping
from typing import Any

from erlangen.report.plain import mapping, number
from erlangen.report.scales import Scale, fit_scale
from erlangen.report.wording import escape, figure_text, short_number

WIDTH, HEIGHT, MARGIN = 228, 40, 10


def scale_of(findings: list[dict[str, Any]]) -> Scale:
    """The axis that all findings of one metric share, so that their rows can be compared by eye."""
    values: list[float] = []
    for finding in findings:
        reference, ci = mapping(finding.get("reference")), mapping(finding.get("ci"))
        values += [number(finding.get("value")), number(finding.get("threshold"))]
        values += [number(part.get(name)) for part in (reference, ci) for name in ("value", "low", "high")]
    return fit_scale(values, MARGIN, WIDTH - MARGIN)


def whisker(finding: Mapping[str, Any], scale: Scale) -> str:
    """The inline SVG of one row; empty where the finding has no finite value."""
    value = number(finding.get("value"))
    if not math.isfinite(value):
        return '<span class="quiet">no number</span>'
    middle, parts = 15, []
    reference, ci = mapping(finding.get("reference")), mapping(finding.get("ci"))
    parts.append(f'<line class="axis" x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{middle}" y2="{middle}"/>')
    parts += _reference(reference, scale, middle)
    threshold = number(finding.get("threshold"))
    if math.isfinite(threshold):
        at = scale(threshold)
        parts.append(f'<line class="threshold" x1="{at}" x2="{at}" y1="3" y2="27"/>')
    low, high = number(ci.get("low")), number(ci.get("high"))
    if math.isfinite(low) and math.isfinite(high) and high > low:
        left, right = scale(low), scale(high)
        parts.append(
            f'<path class="whisker" d="M{left} {middle}H{right}M{left} {middle - 4}v8M{right} {middle - 4}v8"/>'
        )
    parts.append(f'<circle class="dot" cx="{scale(value)}" cy="{middle}" r="4.2"/>')
    parts.append(f'<text class="tick" x="{MARGIN - 4}" y="38">{short_number(scale.low)}</text>')
    parts.append(f'<text class="tick end" x="{WIDTH - MARGIN + 4}" y="38">{short_number(scale.high)}</text>')
    label = escape(_spoken(value, low, high, reference))
    return (
        f'<svg class="whiskers" role="img" aria-label="{label}" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}"><title>{label}</title>{"".join(parts)}</svg>'
    )


def _reference(reference: Mapping[str, Any], scale: Scale, middle: int) -> list[str]:
    value, low, high = (number(reference.get(name)) for name in ("value", "low", "high"))
    parts = []
    if math.isfinite(low) and math.isfinite(high):
        left, right = scale(low), scale(high)
        width = max(round(right - left, 2), 3)
        parts.append(f'<rect class="band" x="{left}" y="{middle - 9}" width="{width}" height="18" rx="2"/>')
    if math.isfinite(value):
        at = scale(value)
        parts.append(f'<path class="reference" d="M{at} {middle - 6}l5 6l-5 6l-5 -6z"/>')
    return parts


def _spoken(value: float, low: float, high: float, reference: Mapping[str, Any]) -> str:
    text = f"value {figure_text(value)}"
    if math.isfinite(low) and math.isfinite(high):
        text += f", interval {figure_text(low)} to {figure_text(high)}"
    if math.isfinite(number(reference.get("value"))):
        text += f", {reference.get('kind', 'reference')} {figure_text(number(reference.get('value')))}"
    return text
