"""How many dimensions the embedding and the layers use."""

import torch
from torch import Tensor

from erlangen.audit.budget import Needs
from erlangen.audit.collect import EMBEDDING
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, Probe
from erlangen.audit.probes.equivariance import is_constant
from erlangen.audit.words import percent
from erlangen.stats import effective_rank, participation_ratio, rankme, subsample_ci

CITATION = "Garrido et al. 2023, arXiv:2210.02885"
LEAST_SPREAD = 0.01
LEAST_RANK = 1.5
BY_NATURE = 5.0


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


def relative_spread(rows: Tensor) -> float:
    """`sqrt(sum_j Var(z_j) / E |z|^2)`: the share of the root mean square length that tells rows apart."""
    rows = rows.double()
    return float(((rows - rows.mean(0)).square().sum(1).mean() / rows.square().sum(1).mean()).sqrt())


def collapse_of(rows: Tensor, *, labels: int) -> str | None:
    """How rows have collapsed, in words; None where they have not.

    Complete: they are the same up to rounding, or their spread is below a hundredth of their length. Dimensional: they
    lie on a line (an effective rank below 1.5 in four dimensions and more), unless two classes may well lie on one.
    """
    n, d = rows.shape
    if is_constant(rows):
        return f"has collapsed: all {n:,} inputs give the same vector"
    spread, rows = relative_spread(rows), rows.double()
    centred = rows - rows.mean(0)
    if spread < LEAST_SPREAD:
        return f"has nearly collapsed: what tells {n:,} inputs apart is {percent(spread)} of the vector's length"
    if min(d, n - 1) >= 4 and labels != 2 and float(effective_rank(_factor(centred))) < LEAST_RANK:
        return (
            f"has collapsed to a line: {n:,} inputs use {float(effective_rank(_factor(centred))):.1f} of {d} dimensions"
        )
    return None


@register("rankme", summary="how many dimensions a layer uses (RankMe)")
class RankMe(Probe):
    """RankMe of the embedding and of every layer; a representation that ignores its input fails.

    Its value grows with the number of samples and has no threshold that holds everywhere, so it is `info`.
    """

    name = "rankme"

    def needs(self, ctx: Context) -> Needs:
        return Needs(8 * 2 * ctx.rows * max(ctx.dimensions.values(), default=0), twin=True)

    def finish(self, ctx: Context) -> list[Finding]:
        return [self._layer(ctx, name, rows) for name, rows in ctx.collected.layers.items()]

    def _layer(self, ctx: Context, layer: str, rows: Tensor) -> Finding:
        n, d = rows.shape
        collapsed = collapse_of(rows, labels=ctx.num_classes)
        if is_constant(rows):
            return Finding(
                "rankme",
                "rankme.rank",
                1.0 if bool(torch.isfinite(rows).all()) else float("nan"),
                layer=layer,
                verdict="fail" if layer == EMBEDDING else "warn",
                meaning=f"{_the(layer)} {collapsed}.",
                rule="fail if the variance is below float32 rounding",
                details={"dimensions": d, "samples": n, "collapsed": True},
                citation=CITATION,
            )
        value = float(rankme(rows))
        low, high = interval(rows, ctx, 20 if layer == EMBEDDING else 6)
        # an untrained network may have as little spread: then it is the architecture's, not a collapse in training
        twin = ctx.collected.twin.get(layer)
        varies = twin is not None and not is_constant(twin)
        by_nature = twin is not None and varies and relative_spread(twin) < BY_NATURE * relative_spread(rows)
        by_nature = by_nature and "to a line" not in (collapsed or "")
        reference = Reference(float(min(n, d)), kind="theory", source="all dimensions equally used")
        if twin is not None and varies and twin.shape[1] == d:
            source = f"{ctx.twin_name}, on {len(twin):,} samples"
            reference = Reference(float(rankme(twin)), kind=ctx.twin_kind, source=source)
        return Finding(
            "rankme",
            "rankme.rank",
            value,
            layer=layer,
            ci=Interval(low, high, ctx.level, "subsample", n),
            reference=reference,
            direction="higher",
            verdict="info" if collapsed is None else "fail" if layer == EMBEDDING and not by_nature else "warn",
            meaning=f"{_the(layer)} {collapsed}."
            if collapsed is not None
            else f"It uses {value:.1f} of {d} dimensions (measured on {n:,} samples).",
            rule=f"fail if it lies on a line or its spread is below {LEAST_SPREAD} of its length (a warning only where the "
            "untrained twin has hardly more), else info: no threshold on rank holds for every task",
            assumptions=("the value grows with the number of samples: compare at equal n",),
            figure=_spectrum(rows, twin, ctx.twin_name) if layer == EMBEDDING else None,
            details={
                "dimensions": d,
                "samples": n,
                "participation_ratio": float(participation_ratio(rows)),
                "collapsed": collapsed is not None,
            },
            citation=CITATION,
        )


def _the(layer: str) -> str:
    return "The embedding" if layer == EMBEDDING else f"The output of {layer}"


def _factor(rows: Tensor) -> Tensor:
    """`[d, d]` rows with the singular values of many rows, which are cheaper to look at."""
    if len(rows) <= 4 * rows.shape[1]:
        return rows
    values, vectors = torch.linalg.eigh(rows.T @ rows)
    return values.clamp(min=0).sqrt().unsqueeze(1) * vectors.T


def _spectrum(rows: Tensor, twin: Tensor | None, twin_name: str) -> FigureSpec:
    """The share of the variance that the first k principal directions hold."""
    series = []
    for name, held in (("this model", rows), (twin_name, twin)):
        if held is not None and not is_constant(held):
            held = held.double()
            values = torch.linalg.eigvalsh(torch.cov(held.T).reshape(held.shape[1], held.shape[1])).clamp(min=0).flip(0)
            share = (values.cumsum(0) / values.sum())[: min(200, len(values))]
            series.append({"name": name, "x": list(range(1, len(share) + 1)), "y": share.tolist()})
    return FigureSpec("curve", "Variance in the first directions of the embedding", "directions", "share", series)
