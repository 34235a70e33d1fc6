"""Units that answer the same whatever comes in."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from erlangen.audit.budget import Needs
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.presets import register
from erlangen.audit.probe import Batch, Context, NotApplicable, StreamingProbe
from erlangen.audit.words import percent
from erlangen.stats import clopper_pearson

ROUNDING = 1e-6


@dataclass
class Extent:
    """The smallest and largest value of every unit of every layer."""

    low: dict[str, Tensor] = field(default_factory=dict)
    high: dict[str, Tensor] = field(default_factory=dict)
    seen: int = 0

    def merge(self, other: "Extent") -> "Extent":
        for name in other.low:
            self.low[name] = torch.minimum(self.low[name], other.low[name]) if name in self.low else other.low[name]
            self.high[name] = (
                torch.maximum(self.high[name], other.high[name]) if name in self.high else other.high[name]
            )
        self.seen += other.seen
        return self


@register("dead_units", summary="units that answer the same whatever comes in")
class DeadUnits(StreamingProbe):
    """The share of units of each layer whose value, averaged over positions, was the same for every sample.

    Streams over all samples with two numbers a unit. A unit is dead here if its range is below float32 rounding of its
    largest value: a ReLU that never fires, a channel whose weights are zero.
    """

    name = "dead_units"

    def needs(self, ctx: Context) -> Needs:
        return Needs(state_bytes=8 * sum(ctx.dimensions.values()), twin=True, cheaper="layers='...' with fewer layers")

    def start(self, ctx: Context) -> Extent:
        return Extent()

    def update(self, state: Extent, batch: Batch) -> None:
        low = {name: rows.amin(0) for name, rows in batch.rows.items()}
        high = {name: rows.amax(0) for name, rows in batch.rows.items()}
        state.merge(Extent(low, high, len(batch.x)))

    def conclude(self, state: Extent, ctx: Context) -> list[Finding]:
        if not state.low:
            raise NotApplicable("there is no model, so there are no units")
        names = list(state.low)
        dead = {name: _dead(state.low[name], state.high[name]) for name in names}
        twin = {name: _dead(rows.amin(0), rows.amax(0)) for name, rows in ctx.collected.twin.items() if name in dead}
        figure = FigureSpec(
            "bars",
            "Dead units",
            "layer",
            "share of units",
            [
                {"name": "this model", "x": names, "y": [float(dead[n].double().mean()) for n in names]},
                {
                    "name": ctx.twin_name,
                    "x": names,
                    "y": [float(twin[n].double().mean()) for n in names if n in twin],
                },
            ],
        )
        return [
            self._layer(ctx, n, dead[n], twin.get(n), state.seen, figure if n == names[-1] else None) for n in names
        ]

    def _layer(
        self, ctx: Context, layer: str, dead: Tensor, twin: Tensor | None, seen: int, figure: FigureSpec | None
    ) -> Finding:
        share, units = float(dead.double().mean()), len(dead)
        high = clopper_pearson(0, seen, level=ctx.level)[1]
        before = float(twin.double().mean()) if twin is not None else float("nan")
        verdict = "fail" if share == 1.0 else "warn" if share > 0.5 else "info"
        return Finding(
            self.name,
            "dead_units.share",
            share,
            layer=layer,
            ci=Interval(share, share, ctx.level, "none (deterministic)", seen),
            reference=Reference(before, kind=ctx.twin_kind, source=ctx.twin_name) if twin is not None else None,
            verdict=verdict,  # type: ignore[arg-type]
            meaning=f"{percent(share)} of {units} units gave the same value for all {seen:,} samples"
            + (f" ({percent(before)} in {ctx.twin_name})." if twin is not None else "."),
            rule="fail if no unit varies, warn if fewer than half of them do, else info: how many idle units a layer "
            "may have depends on its task",
            direction="lower",
            assumptions=(
                f"a unit that fires for fewer than {percent(high)} of inputs may be missed",
                "values are averaged over positions first",
            ),
            figure=figure,
            details={"units": units, "dead": int(dead.sum()), "which": dead.nonzero().squeeze(1)[:200].tolist()},
        )


def _dead(low: Tensor, high: Tensor) -> Tensor:
    return (high - low) <= ROUNDING * torch.maximum(low.abs(), high.abs())
