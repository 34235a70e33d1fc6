"""How far a group moves the representation of every layer, against resampling alone and an untrained twin."""

import dataclasses
import math

import torch
from torch import Tensor

from erlangen.audit.budget import Needs
from erlangen.audit.collect import EMBEDDING
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, OrbitRows, Probe
from erlangen.audit.verdict import judge
from erlangen.audit.words import percent
from erlangen.stats import bootstrap_bca

ROUND_OFF = 1e-4
NEARLY = 0.25
TOO_COARSE = 0.5


def spread(rows: Tensor) -> Tensor:
    """Per row, its share of the mean squared distance between two unrelated rows, `E ||f(x) - f(x')||^2`."""
    rows = rows.double()
    return 2 * (rows - rows.mean(0)).square().sum(1) * len(rows) / (len(rows) - 1)


def is_constant(rows: Tensor) -> bool:
    """Whether the rows differ by no more than float32 rounding, or are not finite."""
    size = float(rows.double().square().sum(1).mean())
    return not float(spread(rows).mean()) > 1e-10 * size


def relative_error(change: Tensor, upright: Tensor) -> float:
    """`sqrt(E ||f(gx) - f(x)||^2 / E ||f(x) - f(x')||^2)`: 0 is invariant, 1 as far as an unrelated input."""
    return float((change.mean() / spread(upright).mean()).sqrt())


def squared_change(moved: list[dict[str, Tensor]], upright: dict[str, Tensor], layer: str) -> Tensor:
    """`||f(g x_i) - f(x_i)||^2`, `[elements, samples]`."""
    return torch.stack([(m[layer].double() - upright[layer][: len(m[layer])].double()).square().sum(1) for m in moved])


def ratio_interval(change: Tensor, upright: Tensor, *, level: float, generator: torch.Generator) -> tuple[float, float]:
    """The bootstrap interval over samples of `relative_error`."""
    pairs = torch.stack([change, spread(upright)], 1)
    return bootstrap_bca(
        pairs,
        of_means=lambda m: (m[..., 0] / m[..., 1]).sqrt(),
        level=level,
        resamples=1000,
        generator=generator,
    )


@register("equivariance", summary="how far group elements move each layer, against resampling and an untrained twin")
class Equivariance(Probe):
    """The error of invariance of the pooled activations of every layer and of the embedding.

    `sqrt(E ||f(gx) - f(x)||^2 / E ||f(x) - f(x')||^2)` over inputs x, unrelated x' and elements g. The floor is the
    same number for moving the input there and back, which changes it by resampling alone. The embedding, and layers
    of regular features (averaged over their group), are judged: pass if no further from the floor than resampling;
    other hidden layers need not be invariant, their numbers are `info`.
    """

    name = "equivariance"

    def needs(self, ctx: Context) -> Needs:
        elements = len(ctx.orbit) if ctx.orbit is not None else 0
        rows = min(ctx.rows, ctx.budget.orbit_samples)
        nbytes = 4 * 3 * elements * rows * sum(ctx.dimensions.values())
        return Needs(nbytes, orbit=True, cheaper="Budget(orbit_samples=128), or layers='...' with fewer layers")

    def finish(self, ctx: Context) -> list[Finding]:
        orbit = ctx.orbit_rows
        findings = [self._layer(ctx, orbit, name) for name in orbit.upright if name != EMBEDDING]
        return [*(f for f in findings if f is not None), self._embedding(ctx, orbit)]

    def _embedding(self, ctx: Context, orbit: OrbitRows) -> Finding:
        if is_constant(orbit.upright[EMBEDDING]):
            return Finding(
                "equivariance",
                "equivariance.vacuous",
                0.0,
                layer=EMBEDDING,
                group=ctx.orbit.name if ctx.orbit else "",
                verdict="fail",
                meaning="The embedding does not depend on the input, so its invariance says nothing.",
                rule="fail if embeddings of different inputs differ by no more than rounding",
            )
        finding = self._layer(ctx, orbit, EMBEDDING)
        if finding is None:
            raise NotApplicable("the embedding has no finite spread")
        return finding

    def _layer(self, ctx: Context, orbit: OrbitRows, layer: str) -> Finding | None:
        assert ctx.orbit is not None
        upright = orbit.upright[layer]
        if is_constant(upright):
            return None
        change = squared_change(orbit.moved, orbit.upright, layer)
        back = squared_change(orbit.there_and_back, orbit.upright, layer)
        floor_upright = upright[: back.shape[1]]
        value, floor = relative_error(change.mean(0), upright), relative_error(back.mean(0), floor_upright)
        low, high = ratio_interval(change.mean(0), upright, level=ctx.level, generator=ctx.generator())
        errors = [relative_error(c, upright) for c in change]
        floors = [relative_error(b, floor_upright) for b in back]
        reference, twin_errors = _twin(ctx, orbit, layer)
        series = [{"name": "this model", "x": ctx.orbit.labels, "y": errors}]
        if twin_errors:
            series.append({"name": ctx.twin_name, "x": ctx.orbit.labels, "y": twin_errors})
        series.append({"name": "resampling alone", "x": ctx.orbit.labels, "y": floors})
        worst = int(torch.tensor(errors).argmax())
        finding = Finding(
            "equivariance",
            "equivariance.invariance_error",
            value,
            layer=layer,
            group=ctx.orbit.name,
            ci=Interval(low, high, ctx.level, "bootstrap-bca", len(upright)),
            reference=reference,
            direction="lower",
            meaning=(
                f"{ctx.orbit.name} moves it by {percent(value)} of the distance between two unrelated inputs, most at "
                f"{ctx.orbit.labels[worst]} ({percent(errors[worst])}); resampling alone moves it by {percent(floor)}."
            ),
            figure=FigureSpec(
                "curve", f"Change of {layer} under {ctx.orbit.name}", "group element", "relative change", series
            ),
            assumptions=(
                "0 is invariant, 1 is as far as an unrelated input",
                "activations are averaged over positions (and over the group for regular features)",
            ),
            warnings=("resampling alone changes it by more than half: use larger images",)
            if floor > TOO_COARSE
            else (),
            details={
                "elements": ctx.orbit.labels,
                "errors": errors,
                "twin": twin_errors,
                "floors": floors,
                "floor": floor,
                "per_sample": change.mean(0).sqrt().tolist() if layer == EMBEDDING else [],
            },
        )
        if layer != EMBEDDING and layer.split("#")[0] not in ctx.pools:
            return dataclasses.replace(finding, rule="info: a hidden layer need not be invariant")
        return _judged(ctx, finding, back.mean(0), floor_upright)


def _judged(ctx: Context, finding: Finding, back: Tensor, upright: Tensor) -> Finding:
    floor_high = ratio_interval(back, upright, level=ctx.level, generator=ctx.generator())[1]
    if not math.isfinite(floor_high) or floor_high < ROUND_OFF:
        threshold, because = ROUND_OFF, "float32 round-off"
    else:
        threshold, because = floor_high, "the upper end of what resampling there and back does"
    judged = judge(finding, threshold, good="below", because=because)
    if judged.verdict == "pass" and threshold > TOO_COARSE:
        rule = "inconclusive: resampling alone moves it by more than half of an unrelated input; use larger images"
        return dataclasses.replace(judged, verdict="inconclusive", rule=rule, needs_samples=None)
    if judged.verdict == "fail" and judged.ci is not None and judged.ci.high < NEARLY:
        rule = f"{judged.rule}; a warning only if the whole interval is below {NEARLY:g} of an unrelated input"
        return dataclasses.replace(judged, verdict="warn", rule=rule)
    return judged


def _twin(ctx: Context, orbit: OrbitRows, layer: str) -> tuple[Reference | None, list[float]]:
    if orbit.twin_upright is None or orbit.twin_moved is None or layer not in orbit.twin_upright:
        return None, []
    upright = orbit.twin_upright[layer]
    if is_constant(upright):
        return None, []
    change = squared_change(orbit.twin_moved, orbit.twin_upright, layer)
    value = relative_error(change.mean(0), upright)
    low, high = ratio_interval(change.mean(0), upright, level=ctx.level, generator=ctx.generator())
    return (
        Reference(value, low, high, ctx.twin_kind, ctx.twin_name),
        [relative_error(c, upright) for c in change],
    )
