"""Figures that span several findings: what does it respect, the profile over layers, the worst cases."""

import logging
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from erlangen.audit.collect import EMBEDDING
from erlangen.audit.finding import TWIN_WORDS, FigureSpec, Finding
from erlangen.audit.probe import Context

WORST = 6
_log = logging.getLogger(__name__)
LARGEST_IMAGE = 64


def build_panels(findings: list[Finding], ctx: Context) -> dict[str, FigureSpec]:
    """The panels that these findings allow; a panel whose making fails is left out."""
    makers: dict[str, Callable[[list[Finding], Context], FigureSpec | None]] = {
        "respect": _respect,
        "profile_rank": lambda f, c: _profile(f, c, "rankme.rank", "Dimensions used (RankMe)", "dimensions"),
        "profile_probe": lambda f, c: _profile(f, c, "linear_probe.accuracy", "Linear probe", "accuracy"),
        "profile_invariance": lambda f, c: _profile(
            f, c, "equivariance.invariance_error", "Change under the group", "relative change"
        ),
        "profile_output": _to_the_output,
        "similarity": lambda f, c: next((x.figure for x in f if x.probe == "cka"), None),
        "worst": _worst,
    }
    panels: dict[str, FigureSpec] = {}
    for name, maker in makers.items():
        try:
            panel = maker(findings, ctx)
        except Exception:  # a picture of what was measured must not cost the measurements
            _log.warning("panel %s: left out", name, exc_info=True)
            continue
        if panel is not None:
            panels[name] = panel
    return panels


def _respect(findings: list[Finding], ctx: Context) -> FigureSpec | None:
    rows = [f for f in findings if f.metric == "equivariance.invariance_error"]
    if not rows or ctx.orbit is None:
        return None
    return FigureSpec(
        "matrix",
        f"What does it respect? Change under {ctx.orbit.name}: 0 invariant, 1 as far as an unrelated input",
        "group element",
        "layer",
        rows=[f.layer for f in rows],
        columns=ctx.orbit.labels,
        values=[list(f.details["errors"]) for f in rows],
        vmin=0.0,
        vmax=1.0,
    )


_PROFILED = {**TWIN_WORDS, "null": "shuffled labels"}


def _profile(findings: list[Finding], ctx: Context, metric: str, title: str, unit: str) -> FigureSpec | None:
    rows = [f for f in findings if f.metric == metric and math.isfinite(f.value)]
    if len(rows) < 2:
        return None
    series: list[dict[str, Any]] = [
        {
            "name": "this model",
            "x": [f.layer for f in rows],
            "y": [f.value for f in rows],
            "low": [f.ci.low if f.ci else math.nan for f in rows],
            "high": [f.ci.high if f.ci else math.nan for f in rows],
        }
    ]
    twin = [(f.layer, f.details["twin"]) for f in rows if isinstance(f.details.get("twin"), float)]
    twin = [(layer, value) for layer, value in twin if math.isfinite(value)]
    if twin:
        series.append({"name": ctx.twin_words, "x": [n for n, _ in twin], "y": [v for _, v in twin]})
    known = [f for f in rows if f.reference is not None and f.reference.kind in _PROFILED]
    if known:
        kind = known[0].reference.kind if known[0].reference else ""
        series.append(
            {
                "name": _PROFILED[kind],
                "x": [f.layer for f in known],
                "y": [f.reference.value for f in known if f.reference is not None],
            }
        )
    return FigureSpec("curve", title, "layer", unit, series)


def _to_the_output(findings: list[Finding], ctx: Context) -> FigureSpec | None:
    """The similarity of every layer to the embedding."""
    found = next(
        (f for f in findings if f.metric == "cka.between_layers" and len(f.details.get("layers", [])) > 2), None
    )
    if found is None:
        return None
    series = [{"name": "this model", "x": found.details["layers"], "y": [row[-1] for row in found.details["matrix"]]}]
    return FigureSpec("curve", "Similarity to the embedding", "layer", "CKA", series)


def _worst(findings: list[Finding], ctx: Context) -> FigureSpec | None:
    """The inputs whose embedding the group moves most, before and after, with the element that moves them most."""
    x = ctx.collected.inputs
    rows = [f for f in findings if f.metric == "equivariance.invariance_error" and f.layer == EMBEDDING]
    if not rows or ctx.orbit is None or x.dim() != 4 or x.shape[1] not in (1, 3):
        return None
    orbit = ctx.orbit_rows
    change = torch.stack([(m[EMBEDDING] - orbit.upright[EMBEDDING]).norm(dim=1) for m in orbit.moved])
    scale = (2 * orbit.upright[EMBEDDING].var(0).sum()).sqrt()
    images = []
    for i in change.max(0).values.topk(min(WORST, len(x))).indices.tolist():
        element = int(change[:, i].argmax())
        label = int(ctx.collected.label[ctx.collected.input_rows[i]])
        name = f"{ctx.class_name(label)}, " if label >= 0 else ""
        images.append(
            {
                "before": picture(x[i]),
                "after": picture(ctx.orbit.move(element, x[i : i + 1])[0]),
                "caption": f"{name}{ctx.orbit.labels[element]}: moved by {float(change[element, i] / scale):.2f}",
            }
        )
    return FigureSpec("images", f"Embeddings that {ctx.orbit.name} moves most", images=images)


def picture(x: Tensor) -> list[Any]:
    """An image `[C, H, W]` as nested lists of 0..255, at most 64 pixels wide, its own range stretched to it."""
    step = max(1, math.ceil(max(x.shape[-2:]) / LARGEST_IMAGE))
    x = torch.nn.functional.avg_pool2d(x.float().unsqueeze(0), step)[0] if step > 1 else x.float()
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > 1:
        x = (x - low) / max(high - low, 1e-12)
    values = (x * 255).round().to(torch.uint8)
    return values[0].tolist() if len(values) == 1 else values.permute(1, 2, 0).tolist()
