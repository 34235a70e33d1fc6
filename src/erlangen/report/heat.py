"""Heat maps as HTML tables: every cell is a number that can be read, selected and tabbed to."""

import math
from collections.abc import Mapping
from typing import Any

from erlangen.report.plain import number, numbers, sequence
from erlangen.report.wording import escape, figure_text

LARGEST = 40


def heat_table(spec: Mapping[str, Any], *, palette: str, corner: str = "", digits: int = 2) -> str:
    """A figure of kind `matrix`: `palette` is `respect` (0 is good) or `similarity` (1 is alike).

    Values are coloured from `vmin` to `vmax` (0 and 1 unless given); a value above `vmax` is marked as well.
    """
    rows, columns = [str(r) for r in sequence(spec.get("rows"))], [str(c) for c in sequence(spec.get("columns"))]
    values = [numbers(row) for row in sequence(spec.get("values"))]
    low, high = number(spec.get("vmin")), number(spec.get("vmax"))
    low, high = (low if math.isfinite(low) else 0.0), (high if math.isfinite(high) else 1.0)
    shown_rows, shown_columns = rows[:LARGEST], columns[:LARGEST]
    head = "".join(f'<th scope="col"><span>{escape(c)}</span></th>' for c in shown_columns)
    body = []
    for i, name in enumerate(shown_rows):
        row = values[i] if i < len(values) else []
        cells = "".join(
            _cell(row[j] if j < len(row) else math.nan, low, high, f"{name}, {column}", digits, palette)
            for j, column in enumerate(shown_columns)
        )
        body.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    left_out = len(rows) - len(shown_rows) + len(columns) - len(shown_columns)
    note = f'<p class="quiet">{left_out} rows and columns are in the embedded numbers only.</p>' if left_out else ""
    slim = " slim" if len(shown_columns) > 14 else ""
    caption = escape(spec.get("title") or "")
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{caption}"><table class="heat {palette}{slim}">'
        f'<caption>{caption}</caption><thead><tr><th scope="col" class="corner">{escape(corner)}</th>{head}'
        "</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>{note}"
    )


def _cell(value: float, low: float, high: float, name: str, digits: int, palette: str) -> str:
    if not math.isfinite(value):
        return f'<td class="empty" title="{escape(name)}: not measured">·</td>'
    share = min(max((value - low) / (high - low) if high > low else 0.0, 0.0), 1.0)
    over = " over" if value > high * 1.005 else ""
    deep = " deep" if share > (0.84 if palette == "respect" else 0.64) else ""
    title = escape(f"{name}: {figure_text(value)}")
    text = f"{value:.{digits}f}".replace("-", "−")
    if abs(value) < 0.5 * 10**-digits:
        text = "0"
    return f'<td class="cell{deep}{over}" style="--v:{round(100 * share)}%" title="{title}">{text}</td>'


def ramp(palette: str, low: str, middle: str, high: str) -> str:
    """The legend of a heat map: its colours from low to high with words."""
    return (
        f'<div class="ramp {palette}" aria-hidden="true"><span class="bar"></span>'
        f"<span>{escape(low)}</span><span>{escape(middle)}</span><span>{escape(high)}</span></div>"
    )
