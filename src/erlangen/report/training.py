"""How the model was trained: each term of the loss over the epochs, and what the collapse monitors said."""

import math
from collections.abc import Mapping
from typing import Any

from erlangen.report.chart import chart
from erlangen.report.marks import icon
from erlangen.report.plain import mapping, number, numbers, sequence
from erlangen.report.wording import count_text, escape

MOST_CHARTS = 16


def training_section(record: Mapping[str, Any]) -> str:
    """`header["training"]`: a chart a term with its healthy range in words, one a monitor, and the collapses."""
    training = mapping(mapping(record.get("header")).get("training"))
    epochs = [number(e) for e in sequence(training.get("epochs"))]
    if not epochs:
        return ""
    terms = [mapping(t) for t in sequence(training.get("terms"))]
    monitors = [mapping(m) for m in sequence(training.get("monitors"))]
    charts = [_chart(t, epochs, {"fitted": "train", "held out": "val"}) for t in terms]
    watched = [_chart(m, epochs, {"value": "value"}) for m in monitors]
    left = max(len(charts) - MOST_CHARTS, 0)
    more = f'<p class="quiet">{left} more terms are in the embedded numbers.</p>' if left else ""
    grid = f'<div class="grid">{"".join(charts[:MOST_CHARTS])}</div>{more}' if charts else ""
    seen = f'<h3>Collapse monitors</h3>{_said(training, epochs)}<div class="grid">{"".join(watched)}</div>'
    return _facts(training, epochs) + grid + (seen if watched or sequence(training.get("collapse")) else "")


def _facts(training: Mapping[str, Any], epochs: list[float]) -> str:
    state = "" if training.get("complete", True) else ", interrupted"
    objective = escape(training.get("objective") or "an objective")
    last = int(epochs[-1]) if math.isfinite(epochs[-1]) else len(epochs)
    plural = "" if last == 1 else "s"
    return f"<p>Fitted with <b>{objective}</b> over {count_text(last)} epoch{plural}{state}.</p>"


def _said(training: Mapping[str, Any], epochs: list[float]) -> str:
    """What the monitors said, epochs in a row that said the same drawn together."""
    told = [mapping(c) for c in sequence(training.get("collapse"))]
    if not told:
        return f'<p class="v-pass">{icon("pass")} They looked after every epoch and saw no collapse.</p>'
    runs: list[tuple[int, int, str]] = []
    for entry in told:
        at, words = number(entry.get("epoch")), str(entry.get("words") or "")
        epoch = int(at) if math.isfinite(at) else 0
        kind = words.split(":")[0]
        if runs and runs[-1][1] == epoch - 1 and runs[-1][2].split(":")[0] == kind:
            runs[-1] = (runs[-1][0], epoch, words)
        else:
            runs.append((epoch, epoch, words))
    at_end = runs[-1][1] >= epochs[-1]
    look = "fail" if at_end else "warn"
    items = "".join(
        f"<li>{icon(look)} epoch{'' if a == b else 's'} {a}{'' if a == b else f' to {b}'}: {escape(words)}</li>"
        for a, b, words in runs[:12]
    )
    return f'<ul class="said v-{look}">{items}</ul>'


def _chart(entry: Mapping[str, Any], epochs: list[float], series: Mapping[str, str]) -> str:
    drawn = []
    for label, key in series.items():
        values = numbers(entry.get(key))
        if any(math.isfinite(v) for v in values):
            drawn.append({"name": label, "x": epochs[: len(values)], "y": values, "dots": len(values) <= 40})
    title = str(entry.get("name") or "").replace("_", " ")
    figure = chart({"kind": "curve", "title": title, "x_label": "epoch", "series": drawn}, width=310, height=190)
    healthy = entry.get("healthy")
    words = f'<p class="healthy"><span>healthy</span> {escape(healthy)}</p>' if healthy else ""
    return f'<div class="term">{figure}{words}</div>'
