"""Do moved inputs stay together on the sphere, and do embeddings fill it?"""

import torch
from torch import Tensor

from erlangen.audit.budget import Needs
from erlangen.audit.collect import EMBEDDING
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.probes.equivariance import is_constant
from erlangen.stats import alignment, bootstrap_bca, subsample_ci, uniform_sphere_uniformity, uniformity

ROWS = 2000
CITATION = "Wang and Isola 2020, arXiv:2005.10242"


@register("alignment_uniformity", summary="do moved inputs stay together, do embeddings fill the sphere")
class AlignmentUniformity(Probe):
    """Uniformity of the embedding, and, if a group is named, alignment of an input with its moved copies."""

    name = "alignment_uniformity"

    def needs(self, ctx: Context) -> Needs:
        return Needs(8 * 2 * min(ctx.rows, ROWS) ** 2)

    def finish(self, ctx: Context) -> list[Finding]:
        rows = ctx.collected.embedding
        rows = rows[torch.randperm(len(rows), generator=ctx.generator())[:ROWS]]
        if is_constant(rows):
            raise NotApplicable("the embedding is the same for all inputs")
        value, best = float(uniformity(rows)), uniform_sphere_uniformity(rows.shape[1])
        low, high = subsample_ci(
            lambda keep: float(uniformity(rows[keep])),
            len(rows),
            level=ctx.level,
            resamples=20,
            generator=ctx.generator(),
        )
        apart = {"two unrelated inputs (null)": alignment(rows, rows.roll(1, 0))}
        if ctx.orbit is not None:
            upright = ctx.orbit_rows.upright[EMBEDDING]
            apart = {f"moved by {ctx.orbit.name}": alignment(upright, ctx.orbit_rows.moved[0][EMBEDDING]), **apart}
        findings = [
            Finding(
                "alignment_uniformity",
                "alignment_uniformity.uniformity",
                value,
                layer=EMBEDDING,
                ci=Interval(low, high, ctx.level, "subsample", len(rows)),
                reference=Reference(best, kind="theory", source="the uniform distribution on the sphere, the least"),
                direction="lower",
                meaning=f"Uniformity is {value:.2f}; filling the sphere evenly would give {best:.2f}, a constant 0.",
                rule="info: a good value depends on the number of classes and the objective",
                figure=_histogram(apart),
                citation=CITATION,
            )
        ]
        if ctx.orbit is not None:
            orbit = ctx.orbit_rows
            upright = orbit.upright[EMBEDDING]
            distance = torch.stack([alignment(upright, m[EMBEDDING]) for m in orbit.moved]).mean(0)
            low, high = bootstrap_bca(distance, level=ctx.level, generator=ctx.generator())
            strangers = float(alignment(upright, upright.roll(1, 0)).mean())
            findings.append(
                Finding(
                    "alignment_uniformity",
                    "alignment_uniformity.alignment",
                    float(distance.mean()),
                    layer=EMBEDDING,
                    group=ctx.orbit.name,
                    ci=Interval(low, high, ctx.level, "bootstrap-bca", len(distance)),
                    reference=Reference(strangers, kind="null", source="pairs of unrelated inputs"),
                    direction="lower",
                    meaning=f"An input and its copy moved by {ctx.orbit.name} are {float(distance.mean()):.2g} apart "
                    f"(squared, on the unit sphere); unrelated inputs {strangers:.2g}.",
                    rule="info: the equivariance probe judges the same thing against its floor",
                    citation=CITATION,
                )
            )
        return findings


def _histogram(apart: dict[str, Tensor]) -> FigureSpec:
    """How far pairs of embeddings are apart on the sphere, from 0 (the same) to 2 (opposite)."""
    edges = torch.linspace(0, 2, 25)
    series = []
    for name, squared in apart.items():
        counts = torch.histogram(squared.float().clamp(min=0).sqrt(), edges).hist
        series.append(
            {"name": name, "x": ((edges[1:] + edges[:-1]) / 2).tolist(), "y": (counts / len(squared)).tolist()}
        )
    return FigureSpec("curve", "How far pairs of embeddings are apart", "distance on the unit sphere", "share", series)
