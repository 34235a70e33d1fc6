"""The proof panel: the checker's verdicts, with the numbers behind them and the worst case in pictures."""

import math
from collections.abc import Mapping
from typing import Any

from erlangen.report.chart import chart
from erlangen.report.marks import badge, look_of
from erlangen.report.pictures import before_after
from erlangen.report.plain import mapping, number, sequence
from erlangen.report.scales import Scale
from erlangen.report.wording import escape, figure_text, seconds_text

EXACT, EXACT_32, BROKEN = 1e-10, 1e-4, 0.05
_DECADES = (1e-16, 1.0)
_SAYING = {
    "exact": "It has this symmetry: what is left is round-off in both precisions.",
    "round-off": "It has this symmetry in exact arithmetic; in float32 the round-off is noticeable.",
    "approximate": "It has this symmetry only approximately: the error does not shrink with the precision.",
    "broken": "It does not have this symmetry.",
    "vacuous": "Its output hardly depends on its input, so the symmetry says nothing.",
}


def proof_section(results: list[dict[str, Any]]) -> str:
    """One card a check result (the dict of `CheckResult.to_dict()`).

    Beyond that dict, `name` (or `title`) may name the model, and `worst` may hold `before` and `after` pictures.
    """
    return f'<div class="proofs">{"".join(_card(r) for r in results)}</div>'


def _card(result: Mapping[str, Any]) -> str:
    verdict = str(result.get("verdict") or "vacuous")
    base = verdict.split("(")[0].strip()
    name = result.get("name") or result.get("title") or "model"
    errors = {k: number(v) for k, v in mapping(result.get("error")).items()}
    parts = {k: number(v) for k, v in mapping(result.get("parts")).items() if k != "whole group"}
    scenarios = {k: number(v) for k, v in mapping(result.get("scenarios")).items()}
    body = [
        f'<div class="head"><h3>{escape(name)}</h3>{badge(verdict)}</div>',
        f'<p class="symmetry"><code>{escape(result.get("symmetry") or "")}</code></p>',
        f"<p>{escape(_SAYING.get(base, ''))}</p>",
        _rows("by precision", errors),
        _rows("by part of the group", parts),
        _rows("by circumstance", scenarios),
        _axis(bool(errors or parts or scenarios)),
        _curve(result),
        _worst(result),
        _places(result),
    ]
    return f'<article class="proof look-{look_of(verdict)}">{"".join(body)}</article>'


def _scale() -> Scale:
    return Scale(*_DECADES, 0.0, 100.0, log=True)


def _rows(title: str, values: Mapping[str, float]) -> str:
    if not values:
        return ""
    rows = "".join(
        f'<div class="lane"><span class="name">{escape(name)}</span><span class="track">'
        f'<i class="{_zone(value, name)}" style="left:{_scale()(value) if math.isfinite(value) else 0}%"></i></span>'
        f'<span class="num">{figure_text(value)}</span></div>'
        for name, value in values.items()
    )
    return f'<div class="lanes"><h4>{escape(title)}</h4>{rows}</div>'


def _zone(value: float, name: str) -> str:
    if not math.isfinite(value) or value >= BROKEN:
        return "bad"
    return "good" if value <= (EXACT_32 if "32" in name else EXACT) else "middle"


def _axis(wanted: bool) -> str:
    if not wanted:
        return ""
    at = _scale()
    marks = "".join(
        f'<span style="left:{at(value)}%">{escape(text)}</span>'
        for value, text in ((1e-16, "10⁻¹⁶"), (EXACT, "10⁻¹⁰ exact"), (BROKEN, "0.05 broken"))
    )
    return f'<div class="lane scale" aria-hidden="true"><span></span><span class="track">{marks}</span></div>'


def _curve(result: Mapping[str, Any]) -> str:
    given = result.get("curve")
    pairs = [p for p in sequence(given) if isinstance(p, (list, tuple)) and len(p) >= 2]
    points = sorted((number(p[0]), number(p[1])) for p in pairs)
    points = [(d, e) for d, e in points if math.isfinite(d) and math.isfinite(e)]
    tiny = max((e for _, e in points), default=0.0) < 1e-4
    points = [(d, e) for d, e in points if e > 0 or not tiny]
    if len(points) < 2:
        return ""
    spec = {
        "kind": "curve",
        "title": "Error over the distance from the identity",
        "x_label": "distance from the identity",
        "series": [{"name": "error", "x": [d for d, _ in points], "y": [e for _, e in points]}],
        "lines": [] if tiny else [{"name": "broken from here", "value": BROKEN}],
    }
    return chart(spec, width=380, height=190, log=tiny)


def _worst(result: Mapping[str, Any]) -> str:
    worst = mapping(result.get("worst"))
    if not worst:
        return ""
    element = worst.get("label") or worst.get("g") or ""
    error = number(worst.get("error"))
    words = f"Worst case: {element}" if element else "Worst case"
    words += f", error {figure_text(error)}" if math.isfinite(error) else ""
    if worst.get("before") is None:
        return f'<p class="quiet">{escape(words)}</p>'
    pair = {"before": worst["before"], "after": worst.get("after"), "caption": words}
    return f'<div class="pairs">{before_after(pair)}</div>'


def _places(result: Mapping[str, Any]) -> str:
    lines = []
    if result.get("first_breaking"):
        lines.append(("breaks first at", str(result["first_breaking"])))
    lines += [("likely cause", str(c)) for c in sequence(result.get("causes"))]
    for risk in sequence(result.get("risks")):
        lines.append(("risk", str(mapping(risk).get("words") or mapping(risk).get("name") or risk)))
    lines += [("note", str(n)) for n in sequence(result.get("notes"))]
    seconds = number(result.get("seconds"))
    if seconds > 0:
        lines.append(("took", seconds_text(seconds)))
    items = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in lines)
    return f'<dl class="notes">{items}</dl>' if items else ""
