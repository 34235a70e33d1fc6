"""The proof panel: the checker's verdicts, with the numbers behind them and the worst case in pictures."""

import math
from collections.abc import Mapping
from typing import Any

from erlangen.report.chart import chart
from erlangen.report.lanes import BROKEN, axis, lanes, zone
from erlangen.report.marks import badge, look_of
from erlangen.report.plain import mapping, number, sequence
from erlangen.report.snapshots import film
from erlangen.report.wording import escape, figure_text, prose, seconds_text


def proof_section(results: list[dict[str, Any]]) -> str:
    """One card a check result (the dict of `CheckResult.to_dict()`).

    Beyond that dict, `name` (or `title`) may name the model, and `worst` may hold the pictures `before`, `after`,
    `wanted` and `got`.
    """
    return f'<div class="proofs">{"".join(_card(r) for r in results)}</div>'


def _card(result: Mapping[str, Any]) -> str:
    verdict = str(result.get("verdict") or "vacuous")
    name = result.get("name") or result.get("title") or "model"
    errors = {k: number(v) for k, v in mapping(result.get("error")).items()}
    parts = {k: number(v) for k, v in mapping(result.get("parts")).items() if k != "whole group"}
    scenarios = {k: number(v) for k, v in mapping(result.get("scenarios")).items()}
    blind = verdict == "vacuous"  # then small errors are no good news, and no lanes should say so
    body = [
        f'<div class="head"><h3>{escape(name)}</h3>{badge(verdict)}</div>',
        f'<p class="symmetry"><code>{escape(result.get("symmetry") or "")}</code></p>',
        f"<p>{prose(_saying(verdict, errors))}</p>",
        _notes(result) if blind else _reasons(result),
        "" if blind else lanes("by precision", errors) + lanes("by part of the group", parts),
        axis() if (errors or parts) and not blind else "",
        _risks(result),
        _worst(result),
        "" if blind else _curve(result) + _circumstances(scenarios) + _notes(result),
    ]
    return f'<article class="proof look-{look_of(verdict)}">{"".join(body)}</article>'


def _saying(verdict: str, errors: Mapping[str, float]) -> str:
    """The verdict in one sentence."""
    base = verdict.split("(")[0].strip()
    worst = errors.get("float64", next(iter(errors.values()), math.nan))
    share = f"by up to {_share(worst)} of its size" if math.isfinite(worst) else ""
    return {
        "exact": "It has this symmetry: what is left is rounding, in both precisions.",
        "round-off": "It has this symmetry; in float32 the rounding is large enough to notice, in float64 it is not.",
        "approximate": f"It has this symmetry only roughly: the answer is off {share}, "
        "and more precise arithmetic does not help.",
        "broken": f"It does not have this symmetry: the answer is off {share}.".replace(" is off .", " is off."),
        "vacuous": "Its output hardly depends on its input, so every symmetry holds and none says anything.",
    }.get(base, "")


def _share(error: float) -> str:
    return f"{100 * error:.0f} %" if error >= 0.0095 else figure_text(error)


def _reasons(result: Mapping[str, Any]) -> str:
    """Where it breaks and why: what a reader wants next after the verdict."""
    lines = [("Likely cause", str(c)) for c in sequence(result.get("causes"))]
    if result.get("first_breaking"):
        lines.append(("Breaks first at", str(result["first_breaking"])))
    return _terms(lines, "reasons")


def _risks(result: Mapping[str, Any]) -> str:
    """What would change the verdict, each with the verdict it would change to."""
    items = []
    for risk in sequence(result.get("risks")):
        record = mapping(risk)
        words = str(record.get("words") or record.get("name") or risk)
        mark = badge(str(record["verdict"])) if record.get("verdict") else ""
        items.append(f"<li>{mark}<span>{prose(words)}</span></li>")
    return f'<div class="risks"><h4>what would change this verdict</h4><ul>{"".join(items)}</ul></div>' if items else ""


def _worst(result: Mapping[str, Any]) -> str:
    worst = mapping(result.get("worst"))
    if not worst:
        return ""
    element = str(worst.get("label") or "")
    error = number(worst.get("error"))
    words = f"g is {element}" if element else "the worst element drawn"
    words += f", error {figure_text(error)}" if math.isfinite(error) else ""
    return f'<div class="worst"><h4>worst case</h4><p class="quiet">{escape(words)}</p>{film(worst)}</div>'


def _curve(result: Mapping[str, Any]) -> str:
    """Every drawn element as a dot, and the worst error up to its distance as a line."""
    pairs = [p for p in sequence(result.get("curve")) if isinstance(p, (list, tuple)) and len(p) >= 2]
    points = sorted((number(p[0]), number(p[1])) for p in pairs)
    points = [(d, e) for d, e in points if math.isfinite(d) and math.isfinite(e)]
    tiny = max((e for _, e in points), default=0.0) < 1e-4
    points = [(d, e) for d, e in points if e > 0 or not tiny]
    if len({d for d, _ in points}) < 2:
        return ""
    x, y = [d for d, _ in points], [e for _, e in points]
    worst = [max(y[: i + 1]) for i in range(len(y))]
    high = max(y) >= BROKEN / 4
    spec = {
        "kind": "curve",
        "title": "Does the error grow with the distance of g from the identity?",
        "x_label": "distance of g from the identity (0: nothing moved)",
        "series": [
            {"name": "worst up to this distance", "x": x, "y": worst, "dots": False},
            {"name": "one element", "x": x, "y": y, "line": False},
        ],
        "lines": [{"name": "broken from here", "value": BROKEN}] if high else [],
    }
    return chart(spec, width=380, height=190, log=tiny)


def _circumstances(scenarios: Mapping[str, float]) -> str:
    """The same measurement elsewhere, folded: the ones that matter stand above as risks."""
    if not scenarios:
        return ""
    known = {name: value for name, value in scenarios.items() if not math.isnan(value)}
    bad = sum(zone(value, name) != "good" for name, value in known.items())
    told = f"{len(known)} measured, " + (f"{bad} above round-off" if bad else "all within round-off")
    return (
        f'<details class="elsewhere"><summary>In other circumstances<span>{escape(told)}</span></summary>'
        f"{lanes('the same error with other weights, modes and inputs', known)}{axis()}</details>"
    )


def _notes(result: Mapping[str, Any]) -> str:
    lines = [("Note", str(n)) for n in sequence(result.get("notes"))]
    seconds = number(result.get("seconds"))
    if seconds > 0:
        lines.append(("Took", seconds_text(seconds)))
    return _terms(lines, "notes")


def _terms(lines: list[tuple[str, str]], name: str) -> str:
    """Terms with what they say; a term that repeats stands once."""
    items, last = [], ""
    for term, words in lines:
        shown = "" if term == last else term
        items.append(f"<div><dt>{escape(shown)}</dt><dd>{prose(words)}</dd></div>")
        last = term
    return f'<dl class="{name}">{"".join(items)}</dl>' if items else ""
