"""Line and bar charts as inline SVG in the page's own colours."""

import math
from collections.abc import Mapping
from typing import Any

from erlangen.report.plain import mapping, number, numbers, sequence
from erlangen.report.scales import Scale, fit_scale
from erlangen.report.wording import escape, figure_text, short_number

_GREY = ("untrained", "twin", "null", "shuffled", "floor", "chance", "baseline", "fresh weights", "at random")


def chart(
    spec: Mapping[str, Any],
    *,
    width: int = 340,
    height: int = 200,
    log: bool | None = None,
    legend: bool = True,
    caption: bool = True,
) -> str:
    """A figure of kind `curve` or `bars` with its title and legend.

    `spec["series"]` holds `{"name", "x", "y", "low"?, "high"?}`; x may be numbers or names. `spec["lines"]` holds
    horizontal references `{"name", "value"}`. A series called untrained, null or the like is drawn in grey. A series
    with `"line": False` is drawn as dots only, one with `"dots": False` as a line only.
    """
    series = [mapping(s) for s in sequence(spec.get("series"))]
    lines = [mapping(line) for line in sequence(spec.get("lines"))]
    names = _categories(series)
    left, right, top = 46, width - 12, 10
    bottom = height - (58 if names and not _level(names, left, right) else 34)
    xs = _x_scale(series, names, left + 6, right - 6)
    values = [number(line.get("value")) for line in lines]
    for s in series:
        values += numbers(s.get("y")) + numbers(s.get("low")) + numbers(s.get("high"))
    ys = fit_scale(values, bottom, top, log=log)
    if spec.get("kind") == "bars" and not ys.log:
        ys = Scale(min(ys.low, 0.0), max(ys.high, 0.0), bottom, top)
    parts = [_grid(ys, left, right), _x_axis(xs, names, bottom, left, right, str(spec.get("x_label") or ""), height)]
    for line in lines:
        value = number(line.get("value"))
        if math.isfinite(value):
            at = ys(value)
            parts.append(f'<line class="level" x1="{left}" x2="{right}" y1="{at}" y2="{at}"/>')
    styles = _styles(series)
    draw = _bars if spec.get("kind") == "bars" else _curve
    for index, (s, style) in enumerate(zip(series, styles, strict=True)):
        parts.append(draw(s, style, xs, ys, names, index, len(series)))
    title = escape(spec.get("title") or "")
    body = (
        f'<svg class="chart" role="img" aria-label="{escape(_spoken(spec, series))}" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">{"".join(parts)}</svg>'
    )
    key = _legend(series, styles, lines) if legend else ""
    head = f"<figcaption>{title}{_unit(spec)}</figcaption>" if caption else ""
    return f'<figure class="chartbox">{head}{body}{key}</figure>'


def _unit(spec: Mapping[str, Any]) -> str:
    label = str(spec.get("y_label") or "")
    return f'<span class="unit">{escape(label)}</span>' if label else ""


def _categories(series: list[dict[str, Any]]) -> list[str]:
    """The names on the x axis, where x is not numeric."""
    names: list[str] = []
    for s in series:
        for x in sequence(s.get("x")):
            if not math.isfinite(number(x)) and str(x) not in names:
                names.append(str(x))
    return names


def _level(names: list[str], left: int, right: int) -> bool:
    """Whether there is room to write all names beside each other."""
    return len(names) <= 14 and max(map(len, names)) * 6 < (right - left) / len(names)


def _x_scale(series: list[dict[str, Any]], names: list[str], start: float | int, stop: float | int) -> Scale:
    if names:
        return Scale(-0.5, len(names) - 0.5, start - 6, stop + 6)
    values = [v for s in series for v in numbers(s.get("x")) if math.isfinite(v)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low > 0 and high / low > 200:
        return Scale(low, high, start, stop, log=True)
    return Scale(low, high if high > low else low + 1.0, start, stop)


def _grid(ys: Scale, left: int, right: int) -> str:
    parts = []
    for tick in ys.ticks(4):
        at = ys(tick)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text class="tick end" x="{left - 6}" y="{at + 3.5:.2f}">{short_number(tick)}</text>')
    return "".join(parts)


def _x_axis(xs: Scale, names: list[str], bottom: float | int, left: int, right: int, label: str, height: int) -> str:
    parts = [f'<line class="axis" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>']
    if names:
        every = math.ceil(len(names) / 14)
        if _level(names, left, right):
            level = [(xs(i), escape(name)) for i, name in enumerate(names)]
            words = "".join(
                f'<text class="tick mid" x="{at}" y="{bottom + 15:.2f}">{name}</text>' for at, name in level
            )
            return parts[0] + words
        for i, name in enumerate(names):
            if i % every and i != len(names) - 1:
                continue
            at, short = xs(i), name if len(name) <= 11 else name[:10] + "…"
            parts.append(
                f'<text class="tick end" transform="translate({at + 3:.2f} {bottom + 12:.2f}) rotate(-38)">'
                f"<title>{escape(name)}</title>{escape(short)}</text>"
            )
        return "".join(parts)
    for tick in xs.ticks(5):
        parts.append(f'<text class="tick mid" x="{xs(tick)}" y="{bottom + 14:.2f}">{short_number(tick)}</text>')
    if label:
        middle = (left + right) / 2
        parts.append(f'<text class="tick mid" x="{middle}" y="{height - 4}">{escape(label)}</text>')
    return "".join(parts)


def _styles(series: list[dict[str, Any]]) -> list[str]:
    """`twin` for references, `s0`, `s1`, ... for what was measured."""
    styles, count = [], 0
    for s in series:
        if any(word in str(s.get("name") or "").lower() for word in _GREY):
            styles.append("twin")
        else:
            styles.append(f"s{count % 5}")
            count += 1
    return styles


def _positions(s: Mapping[str, Any], xs: Scale, names: list[str]) -> list[float]:
    return [xs(names.index(str(x))) if str(x) in names else xs(number(x)) for x in sequence(s.get("x"))]


def _curve(s: Mapping[str, Any], style: str, xs: Scale, ys: Scale, names: list[str], index: int, count: int) -> str:
    at, y, low, high = _positions(s, xs, names), numbers(s.get("y")), numbers(s.get("low")), numbers(s.get("high"))
    parts = []
    band = [i for i in range(min(len(at), len(low), len(high))) if math.isfinite(low[i]) and math.isfinite(high[i])]
    if len(band) > 1:
        there = " ".join(f"{at[i]},{ys(high[i])}" for i in band)
        back = " ".join(f"{at[i]},{ys(low[i])}" for i in reversed(band))
        parts.append(f'<polygon class="band {style}" points="{there} {back}"/>')
    points = [(a, ys(v), v) for a, v in zip(at, y, strict=False) if math.isfinite(v)]
    if len(points) > 1 and s.get("line") is not False:
        joined = " ".join(f"{a},{b}" for a, b, _ in points)
        parts.append(f'<polyline class="curve {style}" points="{joined}"/>')
    if s.get("dots") is not False and (len(points) <= 40 or s.get("line") is False):
        name = escape(s.get("name") or "")
        parts += [
            f'<circle class="point {style}" cx="{a}" cy="{b}" r="2.6"><title>{name} {figure_text(v)}</title></circle>'
            for a, b, v in points
        ]
    return "".join(parts)


def _bars(s: Mapping[str, Any], style: str, xs: Scale, ys: Scale, names: list[str], index: int, count: int) -> str:
    at, y = _positions(s, xs, names), numbers(s.get("y"))
    ends = list(zip(numbers(s.get("low")), numbers(s.get("high")), strict=False))
    slot = (xs.stop - xs.start) / max(len(names) or len(at), 1) * 0.72
    width = max(slot / max(count, 1), 1.5)
    base = ys(ys.low if ys.log else max(ys.low, min(0.0, ys.high)))
    parts = []
    for i, (a, v) in enumerate(zip(at, y, strict=False)):
        if math.isfinite(v):
            left, end = a - slot / 2 + index * width, ys(v)
            parts.append(
                f'<rect class="bar {style}" x="{left:.2f}" y="{min(base, end)}" width="{width - 1:.2f}" '
                f'height="{max(abs(base - end), 0.8):.2f}"><title>{figure_text(v)}</title></rect>'
            )
            if i < len(ends) and math.isfinite(ends[i][0]) and math.isfinite(ends[i][1]):
                middle = round(left + width / 2, 2)
                parts.append(f'<path class="error" d="M{middle} {ys(ends[i][0])}V{ys(ends[i][1])}"/>')
    return "".join(parts)


def _legend(series: list[dict[str, Any]], styles: list[str], lines: list[dict[str, Any]]) -> str:
    named = [(str(s.get("name")), style) for s, style in zip(series, styles, strict=True) if s.get("name")]
    named += [(str(line.get("name")), "rule") for line in lines if line.get("name")]
    if len(named) < 2 and not lines:
        return ""
    lone = {str(s.get("name")) for s in series if s.get("line") is False}
    items = "".join(
        f'<li><span class="swatch {style}{" dots" if name in lone else ""}"></span>{escape(name)}</li>'
        for name, style in named
    )
    return f'<ul class="legend">{items}</ul>'


def _spoken(spec: Mapping[str, Any], series: list[dict[str, Any]]) -> str:
    parts = [str(spec.get("title") or "chart")]
    for s in series:
        y = [v for v in numbers(s.get("y")) if math.isfinite(v)]
        if y:
            parts.append(f"{s.get('name') or 'series'} from {figure_text(min(y))} to {figure_text(max(y))}")
    return "; ".join(parts)
