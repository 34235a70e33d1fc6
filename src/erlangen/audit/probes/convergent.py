"""Which units of the model another network has found too."""

import dataclasses
import math

import torch
from torch import Tensor

from erlangen.audit.alignment.convergence import Convergence, converge
from erlangen.audit.alignment.moments import PairMoments
from erlangen.audit.alignment.subspaces import subspace_overlap
from erlangen.audit.budget import Needs
from erlangen.audit.collect import TWIN_ROWS_KEPT
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.probes.equivariance import is_constant
from erlangen.audit.verdict import judge

UNITS = 256
SHUFFLES = 20
CITATION = "Li et al. 2016, arXiv:1511.07543"


@register("convergent", summary="units and subspaces shared with the reference model", paper="arXiv:1511.07543")
class Convergent(Probe):
    """One-to-one matched correlation and overlap of subspaces with the reference model, layer by layer.

    Partners are chosen on half of the inputs and measured on the other half; the null pairs unlike inputs. Layers of the
    same name are compared (averaged over positions), of wide ones the 256 units that vary most.
    """

    name = "convergent"

    def needs(self, ctx: Context) -> Needs:
        rows, units = min(ctx.rows, TWIN_ROWS_KEPT), min(UNITS, max(ctx.dimensions.values()))
        return Needs(8 * (10 * rows * units + 8 * units**2), twin=True, cheaper="layers=... with narrower layers")

    def finish(self, ctx: Context) -> list[Finding]:
        held = ctx.collected
        if ctx.twin is None or held.twin_rows is None or not held.twin:
            raise NotApplicable("there is no reference model to share units with: give one as reference=model")
        if len(held.twin_rows) < 16:
            raise NotApplicable(f"{len(held.twin_rows)} inputs went through both models; at least 16 are needed")
        found: list[Finding] = []
        for layer in held.rows:
            if layer not in held.twin:
                continue
            own, other = held.rows[layer][held.twin_rows], held.twin[layer]
            if is_constant(own) or is_constant(other):
                continue
            generator = ctx.generator()
            shared = converge(_widest(own), _widest(other), level=ctx.level, shuffles=SHUFFLES, generator=generator)
            unlike = _unlike_subspaces(own, other, shared, generator)
            found += self._layer(ctx, layer, shared, unlike, min(own.shape[1], other.shape[1]))
        if not found:
            raise NotApplicable("the models have no layer of the same name that varies with the input")
        return found

    def _layer(self, ctx: Context, layer: str, shared: Convergence, unlike: float, units: int) -> list[Finding]:
        most = f"; the {UNITS} units that vary most were compared" if units > UNITS else ""
        if not math.isfinite(shared.mean):
            return []
        matched = Finding(
            "convergent",
            "convergent.matched_correlation",
            shared.mean,
            layer=layer,
            ci=Interval(shared.low, shared.high, ctx.level, "bootstrap over inputs", shared.inputs),
            reference=Reference(
                shared.null_mean, high=shared.null_high, kind="null", source="inputs of the two networks shuffled"
            ),
            meaning=(
                f"Units of {layer} and their partners in {ctx.twin_name} correlate {shared.mean:.2f} on inputs they were "
                f"not matched on; subspaces of {shared.components} components {shared.subspace:.2f}."
            ),
            direction="none",
            figure=_figure(layer, shared),
            assumptions=("partners were chosen on the other half of the inputs", f"averaged over positions{most}"),
            citation=CITATION,
            details={
                "in_sample": shared.in_sample_mean,
                "semi_matching": shared.semi_mean,
                "different_count": shared.different_count,
                "sorted": [float(v) for v in shared.correlation.sort(descending=True).values[:200]],
            },
        )
        because = "the level's quantile of the null, inputs of the two networks shuffled"
        judged = judge(matched, shared.null_high, good="above", because=because)
        if ctx.twin_kind == "untrained":  # what an untrained network shares is not good or bad
            judged = dataclasses.replace(
                matched, verdict="info", rule="info: shared with fresh weights is what the inputs alone give"
            )
        return [
            judged,
            Finding(
                "convergent",
                "convergent.subspace_overlap",
                shared.subspace,
                layer=layer,
                reference=Reference(unlike, kind="null", source="inputs of the two networks shuffled"),
                meaning=(
                    f"The leading {shared.components} components of {layer} meet those of {ctx.twin_name} at a mean "
                    f"cosine of {shared.subspace:.2f} ({unlike:.2f} on unlike inputs); single units at {shared.mean:.2f}."
                ),
                rule="info: how much two networks should share depends on the task",
                citation=CITATION,
                details={"single_units": shared.mean},
            ),
        ]


def _unlike_subspaces(own: Tensor, other: Tensor, shared: Convergence, generator: torch.Generator) -> float:
    """The overlap of as many components over as many inputs that do not belong together: not 0 for few inputs."""
    one, two = (torch.randperm(len(own), generator=generator)[: shared.inputs] for _ in range(2))
    moments = PairMoments.of(_widest(own)[one], _widest(other)[two])
    return subspace_overlap(moments, k=max(shared.components, 1))[0]


def _widest(rows: Tensor) -> Tensor:
    if rows.shape[1] <= UNITS:
        return rows
    return rows[:, rows.double().var(0).topk(UNITS).indices.sort().values]


def _figure(layer: str, shared: Convergence) -> FigureSpec:
    y = [float(v) for v in shared.correlation.sort(descending=True).values[:200]]
    return FigureSpec(
        "curve",
        f"Correlation of matched units, best first ({layer})",
        "unit",
        "correlation",
        series=[{"name": "matched units", "x": list(range(1, len(y) + 1)), "y": y}],
        lines=[{"name": "null: by chance", "value": shared.null_high}],
    )
