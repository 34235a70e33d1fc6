"""The search panel: queries and what the index finds for them."""

import math
from collections.abc import Mapping
from typing import Any

from erlangen.report.pictures import picture
from erlangen.report.plain import mapping, number, sequence
from erlangen.report.wording import escape, figure_text


def search_section(gallery: Any, *, most: int) -> str:
    """Rows of a query and its neighbours.

    `gallery` is a list of `{"query": entry, "neighbours": [entry, ...], "title"?}` where an entry is
    `{"image", "label"?, "score"?}` or the image itself.
    """
    rows = [mapping(row) for row in sequence(gallery)]
    left = f'<p class="quiet">{len(rows) - most} more queries are left out.</p>' if len(rows) > most else ""
    return "".join(_row(row) for row in rows[:most]) + left


def _row(row: Mapping[str, Any]) -> str:
    query = _entry(row.get("query"))
    found = [_entry(n) for n in sequence(row.get("neighbours") or row.get("neighbors"))]
    title = f"<h3>{escape(row['title'])}</h3>" if row.get("title") else ""
    items = "".join(f"<li>{_shown(n, query, rank)}</li>" for rank, n in enumerate(found, 1))
    return (
        f'{title}<div class="search"><div class="query"><span class="eyebrow">query</span>'
        f'{_shown(query, None, 0)}</div><div><span class="eyebrow">nearest first</span>'
        f'<ol class="found">{items}</ol></div></div>'
    )


def _entry(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {"image": value}


def _shown(entry: Mapping[str, Any], query: Mapping[str, Any] | None, rank: int) -> str:
    label, score = entry.get("label"), number(entry.get("score"))
    words = [f"neighbour {rank}" if rank else "query"] + ([f"class {label}"] if label is not None else [])
    text = f"<b>{escape(label)}</b>" if label is not None else ""
    if math.isfinite(score):
        text += f' <span class="quiet">{figure_text(score)}</span>'
    other = query is not None and label is not None and query.get("label") is not None and label != query["label"]
    mark = ' <span class="other">other class</span>' if other else ""
    kind = ' class="differs"' if other else ""
    image = picture(entry.get("image"), ", ".join(words), size=72)
    return f"<figure{kind}>{image}<figcaption>{text}{mark}</figcaption></figure>"
