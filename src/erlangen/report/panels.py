"""The big figures: what is respected, the profile over depth, similarity, worst cases."""

import math
from collections.abc import Mapping
from typing import Any

from erlangen.report.chart import chart
from erlangen.report.heat import heat_table, ramp
from erlangen.report.pictures import before_after
from erlangen.report.plain import grouped, key_of, mapping, number, sequence
from erlangen.report.wording import escape, title_of

MOST_PROFILES = 12
_REFERENCES = {
    "untrained": "untrained twin",
    "null": "null: by chance",
    "floor": "numerical floor",
    "theory": "theory (baseline)",
}


def figures_of(record: Mapping[str, Any], kind: str) -> list[tuple[str, dict[str, Any]]]:
    """All figures of one kind with their names: the panels first, then those of the findings."""
    named = [(str(name), mapping(spec)) for name, spec in mapping(record.get("panels")).items()]
    named += [(key_of(f), mapping(f.get("figure"))) for f in record["findings"] if mapping(f.get("figure"))]
    return [(name, spec) for name, spec in named if spec.get("kind") == kind]


def is_respect(name: str) -> bool:
    """Whether a matrix speaks of group elements rather than of pairs of layers."""
    return any(word in name.lower() for word in ("respect", "equivariance", "invariance"))


def respect_section(record: Mapping[str, Any]) -> str:
    """Layers by group elements, the error relative to the untrained twin (1) and the numerical floor (0)."""
    parts = []
    for name, spec in figures_of(record, "matrix"):
        if is_respect(name):
            parts.append(ramp("respect", "0: as far as numbers allow", "", "1: no better than untrained"))
            parts.append(heat_table(spec, palette="respect", corner="layer"))
    curves = [spec for name, spec in figures_of(record, "curve") if is_respect(name) or name.startswith("lie")]
    if curves:
        grid = "".join(chart(spec, width=330, height=190) for spec in curves)
        parts.append(
            f'<details class="fold"{"" if parts else " open"}><summary>{len(curves)} curves over the group'
            f'<span>how the error grows with the element</span></summary><div class="grid">{grid}</div></details>'
        )
    return "".join(parts)


def profile_section(record: Mapping[str, Any]) -> str:
    """One small chart a metric over the layers, the reference (the untrained twin, mostly) in grey."""
    charts = []
    for name, spec in mapping(record.get("panels")).items():
        if mapping(spec).get("kind") in ("curve", "bars") and not is_respect(str(name)):
            charts.append(chart(mapping(spec), width=310, height=210))
    for metric, findings in grouped(record["findings"], "metric").items():
        layers = list(dict.fromkeys(str(f.get("layer")) for f in findings if f.get("layer")))
        if len(layers) >= 2 and len(charts) < MOST_PROFILES:
            charts.append(chart(_profile(metric, findings), width=310, height=210, legend=True))
    return f'<div class="grid">{"".join(charts)}</div>' if charts else ""


def _profile(metric: str, findings: list[dict[str, Any]]) -> dict[str, Any]:
    """The chart of one metric over depth."""
    rows = [f for f in findings if f.get("layer")]
    layers = [str(f["layer"]) for f in rows]
    ci = [mapping(f.get("ci")) for f in rows]
    references = [mapping(f.get("reference")) for f in rows]
    measured = {
        "name": "this model",
        "x": layers,
        "y": [f.get("value") for f in rows],
        "low": [c.get("low") for c in ci],
        "high": [c.get("high") for c in ci],
    }
    series = []
    kinds = [str(r.get("kind")) for r in references if math.isfinite(number(r.get("value")))]
    if kinds:
        values = [r.get("value") for r in references]
        series.append({"name": _REFERENCES.get(kinds[0], kinds[0]), "x": layers, "y": values})
    return {"kind": "curve", "title": title_of(metric), "series": [*series, measured]}


def similarity_section(record: Mapping[str, Any]) -> str:
    """Layer by layer similarity as heat maps."""
    parts = [
        heat_table(spec, palette="similarity", corner="layer")
        for name, spec in figures_of(record, "matrix")
        if not is_respect(name)
    ]
    if not parts:
        return ""
    return ramp("similarity", "0: unrelated", "", "1: the same up to rotation and scale") + "".join(parts)


def worst_section(record: Mapping[str, Any], *, most: int) -> str:
    """The inputs that went worst, before and after."""
    parts = []
    for _, spec in figures_of(record, "images"):
        pairs = [mapping(p) for p in sequence(spec.get("images"))]
        shown = "".join(before_after(p) for p in pairs[:most])
        if shown:
            left = f'<p class="quiet">{len(pairs) - most} more are left out.</p>' if len(pairs) > most else ""
            parts.append(f'<h3>{escape(spec.get("title") or "")}</h3><div class="pairs">{shown}</div>{left}')
    return "".join(parts)
