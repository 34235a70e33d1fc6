"""How many dimensions the embedding and the layers use."""

import torch
from torch import Tensor

from erlangen.audit.budget import Needs
from erlangen.audit.collect import EMBEDDING
from erlangen.audit.finding import Finding, Interval, Reference
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, Probe
from erlangen.audit.probes.equivariance import is_constant
from erlangen.stats import participation_ratio, rankme, subsample_ci

CITATION = "Garrido et al. 2023, arXiv:2210.02885"


def interval(rows: Tensor, ctx: Context, resamples: int) -> tuple[float, float]:
    """The interval by subsamples; of many rows by their `[d, d]` factor, whose rounding no interval shows."""
    rows = rows.double()

    def rank(keep: Tensor) -> float:
        part = rows[keep]
        if len(part) > 4 * part.shape[1]:
            values, vectors = torch.linalg.eigh(part.T @ part)
            part = values.clamp(min=0).sqrt().unsqueeze(1) * vectors.T
        return float(rankme(part))

    return subsample_ci(
        rank,
        len(rows),
        level=ctx.level,
        resamples=resamples,
        generator=ctx.generator(),
    )


@register("rankme", summary="how many dimensions a layer uses (RankMe)")
class RankMe(Probe):
    """RankMe of the embedding and of every layer; a representation that ignores its input fails.

    Its value grows with the number of samples and has no threshold that holds everywhere, so it is `info`.
    """

    name = "rankme"

    def needs(self, ctx: Context) -> Needs:
        return Needs(8 * 2 * ctx.rows * max(ctx.dimensions.values()))

    def finish(self, ctx: Context) -> list[Finding]:
        return [self._layer(ctx, name, rows) for name, rows in ctx.collected.rows.items()]

    def _layer(self, ctx: Context, layer: str, rows: Tensor) -> Finding:
        n, d = rows.shape
        if is_constant(rows):
            value = 1.0 if bool(torch.isfinite(rows).all()) else float("nan")
            return Finding(
                "rankme",
                "rankme.rank",
                value,
                layer=layer,
                verdict="fail" if layer == EMBEDDING else "warn",
                meaning=f"Collapsed: all {n} inputs give the same {layer}.",
                rule="fail if the variance is below float32 rounding",
                details={"dimensions": d, "samples": n, "collapsed": True},
                citation=CITATION,
            )
        value = float(rankme(rows))
        low, high = interval(rows, ctx, 20 if layer == EMBEDDING else 6)
        return Finding(
            "rankme",
            "rankme.rank",
            value,
            layer=layer,
            ci=Interval(low, high, ctx.level, "subsample", n),
            reference=Reference(float(min(n, d)), kind="theory", source="all dimensions equally used"),
            direction="higher",
            meaning=f"It uses {value:.1f} of {d} dimensions (measured on {n} samples).",
            rule="info: no threshold on rank holds for every task",
            assumptions=("the value grows with the number of samples: compare at equal n",),
            details={"dimensions": d, "samples": n, "participation_ratio": float(participation_ratio(rows))},
            citation=CITATION,
        )
