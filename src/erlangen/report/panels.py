"""The big figures: the profile over depth, similarity, worst cases."""

import math
from collections.abc import Mapping
from typing import Any

from erlangen.audit.finding import TWIN_WORDS
from erlangen.report.chart import chart
from erlangen.report.figures import figures_of, is_respect
from erlangen.report.heat import heat_table, ramp
from erlangen.report.pictures import before_after
from erlangen.report.plain import grouped, mapping, number, numbers, sequence
from erlangen.report.wording import escape, title_of

MOST_PROFILES = 12
_REFERENCES = {
    **TWIN_WORDS,
    "null": "null: by chance",
    "floor": "numerical floor",
    "theory": "theory (baseline)",
}


def profile_section(record: Mapping[str, Any]) -> str:
    """One small chart a metric over the layers, the reference (the untrained twin, mostly) in grey."""
    panels = {str(name): mapping(spec) for name, spec in mapping(record.get("panels")).items()}
    specs = [p for name, p in panels.items() if p.get("kind") in ("curve", "bars") and not is_respect(name)]
    drawn = [numbers(mapping(s).get("y")) for p in specs for s in sequence(p.get("series"))]
    for metric, findings in grouped(record["findings"], "metric").items():
        rows = [f for f in findings if f.get("layer")]
        told = [number(f.get("value")) for f in rows]
        if len({str(f["layer"]) for f in rows}) >= 2 and told not in drawn:
            specs.append(_profile(metric, rows))
    charts = [chart(spec, width=310, height=210) for spec in specs[:MOST_PROFILES]]
    return f'<div class="grid">{"".join(charts)}</div>' if charts else ""


def _profile(metric: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The chart of one metric over depth."""
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
        if not is_respect(name) and (name in ("similarity", "topology") or name.startswith("cka"))
    ]
    if not parts:
        return ""
    return ramp("similarity", "0: unrelated", "", "1: the same up to rotation and scale") + "".join(parts)


def worst_section(record: Mapping[str, Any], *, most: int) -> str:
    """The inputs that went worst, before and after."""
    parts = []
    for spec in (mapping(p) for p in mapping(record.get("panels")).values()):
        if spec.get("kind") != "images":
            continue
        pairs = [mapping(p) for p in sequence(spec.get("images"))]
        shown = "".join(before_after(p) for p in pairs[:most])
        if shown:
            left = f'<p class="quiet">{len(pairs) - most} more are left out.</p>' if len(pairs) > most else ""
            parts.append(f'<h3>{escape(spec.get("title") or "")}</h3><div class="pairs">{shown}</div>{left}')
    return "".join(parts)
