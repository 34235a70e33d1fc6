"""Does the answer survive a shift of the image by one pixel?"""

import torch
from torch import Tensor

from erlangen.audit.budget import Needs
from erlangen.audit.collect import EMBEDDING
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.probes.equivariance import is_constant, ratio_interval, relative_error
from erlangen.audit.words import percent
from erlangen.stats import clopper_pearson, knn

ROWS = 256
SHIFTS = ((0, 1), (0, -1), (1, 0), (-1, 0))


def shift(x: Tensor, down: int, right: int) -> Tensor:
    """The image moved by whole pixels; what comes in from outside is zero."""
    moved = torch.zeros_like(x)
    h, w = x.shape[-2:]
    moved[..., max(down, 0) : h + min(down, 0), max(right, 0) : w + min(right, 0)] = x[
        ..., max(-down, 0) : h + min(-down, 0), max(-right, 0) : w + min(-right, 0)
    ]
    return moved


@register("shift_consistency", summary="does the answer survive a shift by one pixel")
class ShiftConsistency(Probe):
    """How often the answer is the same after a shift by one pixel in each of four directions, and how far it moves.

    The answer is the class by the classifier, else the class of the nearest other embedding, else (no labels) the
    nearest embedding itself. An input counts as consistent if all four answers agree with the unshifted one.
    """

    name = "shift_consistency"

    def needs(self, ctx: Context) -> Needs:
        return Needs(4 * 5 * min(ctx.rows, ctx.budget.orbit_samples, ROWS) * sum(ctx.dimensions.values()))

    def finish(self, ctx: Context) -> list[Finding]:
        x = ctx.collected.inputs
        if x.dim() != 4 or min(x.shape[-2:]) < 2:
            raise NotApplicable("the inputs are no images, so there is nothing to shift")
        upright = ctx.collected.embedding[ctx.collected.input_rows]  # all of them can be neighbours
        x = x[:ROWS]
        if is_constant(upright):
            raise NotApplicable("the embedding is the same for all inputs")
        moved = [ctx.run(shift(x, *by))[EMBEDDING] for by in SHIFTS]
        answer, how = _answers(ctx, upright, moved)
        agree = torch.stack([a == answer[0] for a in answer[1:]]).all(0)
        low, high = clopper_pearson(int(agree.sum()), len(agree), level=ctx.level)
        upright = upright[:ROWS]
        change = torch.stack([(m.double() - upright.double()).square().sum(1) for m in moved]).mean(0)
        error = relative_error(change, upright)
        error_low, error_high = ratio_interval(change, upright, level=ctx.level, generator=ctx.generator())
        value = float(agree.double().mean())
        return [
            Finding(
                "shift_consistency",
                "shift_consistency.agreement",
                value,
                layer=EMBEDDING,
                group="shift by one pixel",
                ci=Interval(low, high, ctx.level, "clopper-pearson", len(agree)),
                reference=Reference(1.0, kind="theory", source="a shift-invariant model"),
                direction="higher",
                meaning=f"A shift by one pixel in any direction leaves {how} of {percent(value)} of the inputs alone.",
                rule="info: how much shifts should matter depends on the task",
                citation="Zhang 2019, arXiv:1904.11486",
                figure=FigureSpec(
                    "bars",
                    "Answers that survive a shift by one pixel",
                    "direction",
                    "share of inputs",
                    [
                        {
                            "name": "same answer",
                            "x": ["right", "left", "down", "up", "all four"],
                            "y": [*(float((a == answer[0]).double().mean()) for a in answer[1:]), value],
                        }
                    ],
                ),
                details={"per_sample": agree.double().tolist()},
            ),
            Finding(
                "shift_consistency",
                "shift_consistency.relative_change",
                error,
                layer=EMBEDDING,
                group="shift by one pixel",
                ci=Interval(error_low, error_high, ctx.level, "bootstrap-bca", len(agree)),
                direction="lower",
                meaning=f"It moves the embedding by {percent(error)} of the distance between two unrelated inputs.",
                rule="info: how much shifts should matter depends on the task",
            ),
        ]


def _answers(ctx: Context, upright: Tensor, moved: list[Tensor]) -> tuple[list[Tensor], str]:
    read = [ctx.classify(e) for e in [upright[: len(moved[0])], *moved]]
    if all(r is not None for r in read):
        return [r for r in read if r is not None], "the predicted class"
    own = torch.arange(len(moved[0]))
    nearest = [knn(e, upright, 1, exclude=own)[1].squeeze(1) for e in [upright[: len(own)], *moved]]
    label = ctx.collected.label[ctx.collected.input_rows]
    if bool((label >= 0).all()):
        return [label[n] for n in nearest], "the class of the nearest embedding"
    return nearest, "the nearest embedding"
