"""How alike the layers are."""

import torch

from erlangen.audit.budget import Needs
from erlangen.audit.finding import FigureSpec, Finding, Interval
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.probes.equivariance import is_constant
from erlangen.stats import cka, subsample_ci
from erlangen.stats.similarity import linear_gram, unbiased_hsic

ROWS = 1000


@register("cka", summary="debiased linear CKA between all layers")
class LayerSimilarity(Probe):
    """Debiased linear CKA between every two layers on the same rows; the value is first layer against embedding."""

    name = "cka"

    def needs(self, ctx: Context) -> Needs:
        rows = min(ctx.rows, ROWS)
        return Needs(8 * (len(ctx.dimensions) + 4) * rows * rows, cheaper="layers=... with fewer layers")

    def finish(self, ctx: Context) -> list[Finding]:
        held = ctx.collected.rows
        if len(ctx.collected) < 8:  # its interval looks at half of them
            raise NotApplicable(f"{len(ctx.collected)} samples; at least 8 are needed")
        pick = torch.randperm(len(ctx.collected), generator=ctx.generator())[:ROWS]
        names = [name for name, rows in held.items() if not is_constant(rows)]
        if len(names) < 2:
            raise NotApplicable("fewer than two layers vary with the input")
        grams = {name: linear_gram(held[name][pick].double()) for name in names}
        for name in grams:  # a scale of its own, so that products of tiny activations do not underflow
            grams[name] /= grams[name].diagonal().mean()
        hsic = torch.tensor([[float(unbiased_hsic(grams[a], grams[b])) for b in names] for a in names])
        scale = hsic.diagonal().clamp(min=0).sqrt()
        matrix = torch.where(scale.outer(scale) > 1e-12, hsic / scale.outer(scale), torch.nan)
        first, last = held[names[0]][pick], held[names[-1]][pick]
        low, high = subsample_ci(
            lambda keep: float(cka(first[keep], last[keep])),
            len(pick),
            level=ctx.level,
            resamples=20,
            generator=ctx.generator(),
        )
        value = float(matrix[0, -1])
        return [
            Finding(
                "cka",
                "cka.between_layers",
                value,
                ci=Interval(low, high, ctx.level, "subsample", len(pick)),
                meaning=f"{names[0]} and {names[-1]} have similarity {value:.2f} (1: equal but for rotation, 0: none).",
                rule="info: how alike layers should be depends on the task",
                figure=FigureSpec(
                    "matrix",
                    "Similarity of layers (debiased linear CKA)",
                    rows=names,
                    columns=names,
                    values=matrix.tolist(),
                    vmin=0.0,
                    vmax=1.0,
                ),
                citation="Kornblith et al. 2019, arXiv:1905.00414; Nguyen et al. 2021, arXiv:2010.15327",
                details={"layers": names, "matrix": matrix.tolist(), "samples": len(pick)},
            )
        ]
