"""The intrinsic dimension of the data themselves, with the scale to read it by."""

import math

import torch

from erlangen.audit.budget import Needs
from erlangen.audit.dataset.dimension import IntrinsicDimension, intrinsic_dimension
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.raw_inputs import raw_needs
from erlangen.stats.intrinsic_dimension import estimate

ROWS = 4000
CITATION = "Levina and Bickel 2004; Konz and Mazurowski 2024, arXiv:2401.08865"


def measured(ctx: Context) -> tuple[IntrinsicDimension, torch.Tensor]:
    """The dimension of the inputs by maximum likelihood, and the rows it was measured on; computed once an audit."""
    kept = vars(ctx).get("_data_dimension")
    if kept is None or kept[0] is not ctx.collected:
        rows = ctx.collected.raw[:ROWS]
        try:
            found = intrinsic_dimension(rows, "mle", level=ctx.level, seed=ctx.seed)
        except ValueError as reason:
            raise NotApplicable(str(reason)) from reason
        kept = (ctx.collected, found, rows)
        vars(ctx)["_data_dimension"] = kept
    return kept[1], kept[2]


@register(
    "data_dimension",
    summary="intrinsic dimension of the data, with a calibration curve",
    paper="arXiv:2401.08865",
)
class DataDimension(Probe):
    """The dimension of the inputs by maximum likelihood with 20 neighbours, beside Gaussian data of their covariance."""

    name = "data_dimension"

    def needs(self, ctx: Context) -> Needs:
        return raw_needs(ctx, ROWS)

    def finish(self, ctx: Context) -> list[Finding]:
        found, rows = measured(ctx)
        gaussian = surrogate(rows, generator=ctx.generator())
        reference = Reference(
            estimate(gaussian, "mle", k=found.k), kind="null", source="Gaussian data with the same covariance"
        )
        as_cube = (
            f"; uniform cubes of dimension {found.calibrated:.1f} read the same"
            if math.isfinite(found.calibrated)
            else ""
        )
        return [
            Finding(
                self.name,
                "data_dimension.mle",
                found.value,
                ci=Interval(found.low, found.high, ctx.level, "subsample", found.n),
                reference=reference,
                meaning=f"The data vary in about {found.value:.1f} of {rows.shape[1]} dimensions{as_cube}.",
                rule="info: more dimensions need more samples, but no number is wrong",
                assumptions=(f"{found.k} neighbours among {found.n} samples; distances in raw values",),
                warnings=(f"{found.duplicates} duplicates were left out",) if found.duplicates else (),
                citation=CITATION,
                figure=FigureSpec(
                    "curve",
                    "What the estimate reads on cubes of known dimension",
                    "true dimension",
                    "reads",
                    [{"name": "uniform cubes", "x": list(found.curve), "y": list(found.curve.values())}],
                    lines=[{"name": "these data", "value": found.value}],
                ),
                details={"calibrated": found.calibrated, "duplicates": found.duplicates},
            )
        ]


def surrogate(rows: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
    """As many Gaussian rows with the empirical covariance of `rows` `[n, d]`: what linear structure alone would give."""
    centred = rows.double() - rows.double().mean(0)
    mixing = torch.randn(len(rows), len(rows), generator=generator, dtype=torch.float64)
    return mixing @ centred / math.sqrt(len(rows))
