"""The signature figure: which layer respects which element of the group."""

import math
from collections.abc import Mapping
from typing import Any

from erlangen.audit.finding import TWIN_WORDS
from erlangen.report.chart import chart
from erlangen.report.figures import figures_of, is_respect
from erlangen.report.heat import heat_table, ramp
from erlangen.report.plain import mapping, numbers, sequence

SMALLEST_SPREAD = 0.02


def respect_section(record: Mapping[str, Any]) -> str:
    """Layers by group elements: the error itself, and relative to the twin (1) and the floor (0).

    The twin is the model with fresh weights, or the reference model that the audit was given.
    """
    twin, parts = _twin_words(record["findings"]), []
    for _, spec in (item for item in figures_of(record, "matrix") if is_respect(item[0])):
        parts += [
            heat_table(spec, palette="respect", corner="layer"),
            ramp("respect", "0: respected", "", "1: not at all"),
        ]
    for probe, title in (
        ("respect", "The usual moves, relative to"),
        ("equivariance", "Relative to"),
    ):
        relative = relative_to_twin(record["findings"], probe=probe, title=f"{title} {twin}")
        if relative is not None:
            parts.append(heat_table(relative, palette="respect", corner="layer"))
            parts.append(ramp("respect", "0: the numerical floor", "", f"1: {twin}"))
    if len(parts) > 2:
        parts.append(f'<p class="quiet">A dot: {twin} respects it already.</p>')
    curves = [spec for name, spec in figures_of(record, "curve") if is_respect(name)]
    if curves:
        grid = "".join(chart(spec, width=330, height=210) for spec in curves)
        parts.append(
            f'<details class="fold"{"" if parts else " open"}><summary>{len(curves)} curves over the group'
            f'<span>the error at each element, layer by layer</span></summary><div class="grid">{grid}</div></details>'
        )
    return "".join(parts)


def relative_to_twin(
    findings: list[dict[str, Any]], *, probe: str = "equivariance", title: str = "Relative to the untrained twin"
) -> dict[str, Any] | None:
    """(error − floor) / (twin − floor) for findings whose `details` hold the three per element.

    Cells where the twin is within 0.02 of the floor are left empty: there is nothing to be relative to.
    """
    rows: list[str] = []
    values: list[list[float]] = []
    columns: list[str] = []
    for finding in findings:
        details = mapping(finding.get("details"))
        errors, twin, floors = (numbers(details.get(name)) for name in ("errors", "twin", "floors"))
        if finding.get("probe") != probe or not errors or not len(errors) == len(twin) == len(floors):
            continue
        columns = columns or [str(e) for e in sequence(details.get("elements"))]
        rows.append(str(finding.get("layer") or "model"))
        values.append([_relative(e, t, f) for e, t, f in zip(errors, twin, floors, strict=True)])
    if not any(math.isfinite(v) for row in values for v in row):
        return None
    return {"kind": "matrix", "title": title, "rows": rows, "columns": columns, "values": values}


def _twin_words(findings: list[dict[str, Any]]) -> str:
    kinds = {mapping(f.get("reference")).get("kind") for f in findings if f.get("probe") in ("respect", "equivariance")}
    return f"the {TWIN_WORDS['baseline' if 'baseline' in kinds else 'untrained']}"


def _relative(error: float, twin: float, floor: float) -> float:
    spread = twin - floor
    return max(error - floor, 0.0) / spread if spread > SMALLEST_SPREAD else math.nan
