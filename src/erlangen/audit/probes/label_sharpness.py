"""How close inputs of different classes come."""

import math

import torch
from torch import Tensor

from erlangen.audit.budget import Needs
from erlangen.audit.dataset.sharpness import LabelSharpness, label_sharpness
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.panels import picture
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.raw_inputs import raw_needs

ROWS = 1000
SHUFFLES = 5
SHOWN = 4


@register(
    "label_sharpness",
    summary="how close inputs of different classes come, and which pairs are closest",
    paper="arXiv:2401.08865",
)
class LabelSharpnessProbe(Probe):
    """`K_F` of 1,000 inputs, beside shuffled labels; an extreme value that scales with the inputs, so `info`."""

    name = "label_sharpness"

    def needs(self, ctx: Context) -> Needs:
        return raw_needs(ctx, ROWS, labels=True)

    def finish(self, ctx: Context) -> list[Finding]:
        places = ctx.collected.labelled
        label = ctx.collected.label[places]
        if len(places) < 8 or len(label.unique()) < 2:
            raise NotApplicable("needs labelled samples of at least two classes")
        chosen = places[torch.randperm(len(places), generator=ctx.generator())[:ROWS].sort().values]
        rows, label = ctx.collected.raw[chosen], ctx.collected.label[chosen]
        found = label_sharpness(rows, label, samples=None, level=ctx.level, seed=ctx.seed)
        generator = ctx.generator()
        null = [
            label_sharpness(
                rows, label[torch.randperm(len(label), generator=generator)], samples=None, resamples=2
            ).quantiles[0.01]
            for _ in range(SHUFFLES)
        ]
        at = found.quantiles[0.01]
        shuffled = [value for value in null if math.isfinite(value)]  # infinite where copies get different labels
        finite = math.isfinite(found.value)
        return [
            Finding(
                self.name,
                "label_sharpness.K_F",
                found.value if finite else math.nan,
                ci=Interval(found.low, found.high, ctx.level, "subsample", found.n) if finite else None,
                meaning=(
                    f"The closest inputs of different classes are {1 / found.value:.3g} apart."
                    if finite
                    else f"{len(found.contradictory)} inputs equal another of a different class."
                ),
                rule="info: it scales with range and resolution, so only like compares with like",
                assumptions=(
                    f"inputs of shape {'x'.join(map(str, ctx.input_shape))} between {found.input_range[0]:.3g} and "
                    f"{found.input_range[1]:.3g}; the maximum grows with their number ({found.n})",
                ),
                citation="Konz and Mazurowski 2024, arXiv:2401.08865",
                figure=_pairs(ctx, chosen, label, found),
            ),
            Finding(
                self.name,
                "label_sharpness.one_percent",
                at if math.isfinite(at) else math.nan,
                reference=Reference(
                    sum(shuffled) / len(shuffled), min(shuffled), max(shuffled), "null", "the same, labels shuffled"
                )
                if shuffled
                else None,
                direction="lower",
                meaning=f"For one input in a hundred, another class is closer than {1 / at:.3g}."
                if 0 < at < math.inf
                else "More than one input in a hundred equals one of another class.",
                rule="info: at the level of shuffled labels, classes are no closer to themselves than to others",
                citation="Konz and Mazurowski 2024, arXiv:2401.08865",
            ),
        ]


def _pairs(ctx: Context, chosen: Tensor, label: Tensor, found: LabelSharpness) -> FigureSpec | None:
    """The closest enemies side by side, where the inputs are images."""
    if len(ctx.input_shape) != 3 or ctx.input_shape[0] not in (1, 3):
        return None
    images = []
    for i, j in found.pairs[:SHOWN]:
        first, second = (ctx.collected.raw[chosen[place]].view(ctx.input_shape) for place in (i, j))
        names = f"{ctx.class_name(int(label[i]))}, {ctx.class_name(int(label[j]))}"
        images.append({"before": picture(first), "after": picture(second), "caption": names})
    return FigureSpec("images", "Closest inputs of different classes", images=images) if images else None
