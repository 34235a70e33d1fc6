"""Heat maps as HTML tables: every cell is a number that can be read, selected and tabbed to."""

import binascii
import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from erlangen.report.plain import number, numbers, sequence
from erlangen.report.wording import escape, figure_text

LARGEST = 24
LARGEST_IMAGE = 400
MOST_LABELS = 40
_INK = {"respect": (196, 82, 27), "similarity": (58, 111, 196)}


def heat_table(spec: Mapping[str, Any], *, palette: str, corner: str = "", digits: int = 2) -> str:
    """A figure of kind `matrix`: `palette` is `respect` (0 is good) or `similarity` (1 is alike).

    Values are coloured from `vmin` to `vmax` (0 and 1 unless given); a value above `vmax` is marked as well. More than 24
    rows or columns become a picture of a pixel a cell.
    """
    rows, columns = [str(r) for r in sequence(spec.get("rows"))], [str(c) for c in sequence(spec.get("columns"))]
    values = [numbers(row) for row in sequence(spec.get("values"))]
    low, high = number(spec.get("vmin")), number(spec.get("vmax"))
    low, high = (low if math.isfinite(low) else 0.0), (high if math.isfinite(high) else 1.0)
    if max(len(rows), len(columns)) > LARGEST:
        return _picture(str(spec.get("title") or ""), rows, columns, values, low, high, palette)
    head = "".join(f'<th scope="col"><span>{escape(c)}</span></th>' for c in columns)
    body = []
    for i, name in enumerate(rows):
        row = values[i] if i < len(values) else []
        cells = "".join(
            _cell(row[j] if j < len(row) else math.nan, low, high, f"{name}, {column}", digits, palette)
            for j, column in enumerate(columns)
        )
        body.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    slim = " slim" if len(columns) > 14 else ""
    caption = escape(spec.get("title") or "")
    return (
        f'<p class="heatcap" aria-hidden="true">{caption}</p><div class="scroll" tabindex="0" role="group" '
        f'aria-label="{caption}"><table class="heat {palette}{slim}"><caption class="unseen">{caption}</caption>'
        f'<thead><tr><th scope="col" class="corner">{escape(corner)}</th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _picture(
    title: str, rows: list[str], columns: list[str], values: list[list[float]], low: float, high: float, palette: str
) -> str:
    """A pixel a cell: one ink whose opacity is the value, so that it suits a light and a dark page."""
    from PIL import Image

    table = np.full((min(len(rows), LARGEST_IMAGE), min(len(columns), LARGEST_IMAGE)), np.nan)
    for i, row in enumerate(values[: len(table)]):
        table[i, : len(row)] = row[: table.shape[1]]
    share = np.clip((table - low) / (high - low if high > low else 1.0), 0, 1)
    pixels = np.empty((*table.shape, 4), np.uint8)
    pixels[..., :3], pixels[..., 3] = _INK.get(palette, _INK["similarity"]), np.nan_to_num(share * 255).round()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    uri = "data:image/png;base64," + binascii.b2a_base64(buffer.getvalue(), newline=False).decode()
    text = escape(f"{title}: {len(rows)} by {len(columns)} values from {figure_text(low)} to {figure_text(high)}")
    return (
        f'<figure class="pixels"><figcaption>{escape(title)}</figcaption><div class="plot">'
        f'<div class="left">{_labels(rows[: len(table)], "top")}</div>'
        f'<div class="top">{_labels(columns[: table.shape[1]], "left")}</div>'
        f'<img src="{uri}" alt="{text}"></div></figure>'
    )


def _labels(names: list[str], side: str) -> str:
    """A label at the middle of each stretch of equal names; none where there are too many stretches."""
    stretches: list[tuple[int, int]] = []
    for i, name in enumerate(names):
        if i and names[i - 1] == name:
            stretches[-1] = (stretches[-1][0], i)
        else:
            stretches.append((i, i))
    if len(stretches) > MOST_LABELS:
        return ""
    places = [(a, 100 * (a + b + 1) / 2 / len(names)) for a, b in stretches]
    return "".join(f'<span style="{side}:{round(at, 2)}%">{escape(names[a][:12])}</span>' for a, at in places)


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
