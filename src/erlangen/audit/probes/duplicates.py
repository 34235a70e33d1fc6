"""Inputs that the data hold more than once."""

import math

from erlangen.audit.budget import Needs
from erlangen.audit.dataset.copies import Duplicates, duplicates
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.panels import picture
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.raw_inputs import raw_needs
from erlangen.audit.words import percent
from erlangen.stats import clopper_pearson

ROWS = 5000
SHOWN = 4


def measured(ctx: Context) -> Duplicates:
    """Duplicates among the kept inputs; computed once an audit."""
    kept = vars(ctx).get("_duplicates")
    if kept is None or kept[0] is not ctx.collected:
        rows = ctx.collected.raw[:ROWS]
        if len(rows) < 4:
            raise NotApplicable("needs at least four inputs")
        kept = (ctx.collected, duplicates(rows))
        vars(ctx)["_duplicates"] = kept
    return kept[1]


@register("duplicates", summary="inputs that repeat another, exactly or nearly")
class DuplicatesProbe(Probe):
    """The share of inputs that repeat another one exactly; any is a warning, as a split may put it on both sides."""

    name = "duplicates"

    def needs(self, ctx: Context) -> Needs:
        return raw_needs(ctx, ROWS)

    def finish(self, ctx: Context) -> list[Finding]:
        found = measured(ctx)
        low, high = clopper_pearson(found.extra, found.n, level=ctx.level)
        near = len({place for pair in found.near for place in pair})
        share = near / found.n if math.isfinite(found.typical) else math.nan
        near_low, near_high = clopper_pearson(near, found.n, level=ctx.level)
        return [
            Finding(
                self.name,
                "duplicates.exact",
                found.extra / found.n,
                ci=Interval(low, high, ctx.level, "clopper-pearson", found.n),
                reference=Reference(0.0, kind="null", source="inputs that are all different"),
                verdict="warn" if found.extra else "pass",
                direction="lower",
                meaning=f"{found.extra} of {found.n} inputs repeat another exactly."
                if found.extra
                else f"No two of {found.n} inputs are equal.",
                rule="warn if any: a copy in both parts of a split is an answer given away",
                details={"groups": [ctx.collected.index[group].tolist() for group in found.exact[:16]]},
            ),
            Finding(
                self.name,
                "duplicates.near",
                share,
                ci=Interval(near_low, near_high, ctx.level, "clopper-pearson", found.n)
                if math.isfinite(share)
                else None,
                direction="lower",
                meaning=f"{percent(share)} of the inputs are closer to another than a tenth of the usual distance "
                f"({found.typical:.3g})."
                if math.isfinite(found.typical)
                else "Fewer than three of the inputs differ, so there is no usual distance to be near by.",
                rule="info: near copies may be meant",
                details={"pairs": [ctx.collected.index[list(pair)].tolist() for pair in found.near[:16]]},
                figure=_figure(ctx, found),
            ),
        ]


def _figure(ctx: Context, found: Duplicates) -> FigureSpec | None:
    if len(ctx.input_shape) != 3 or ctx.input_shape[0] not in (1, 3) or not found.near:
        return None
    images = []
    for (i, j), distance in zip(found.near[:SHOWN], found.distances, strict=False):
        first, second = (ctx.collected.raw[place].view(ctx.input_shape) for place in (i, j))
        images.append(
            {"before": picture(first), "after": picture(second), "caption": f"{distance / found.typical:.2g} of usual"}
        )
    return FigureSpec("images", "Inputs that are nearly the same", images=images)
