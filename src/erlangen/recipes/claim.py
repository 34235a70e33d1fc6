"""A paper's claim as an inequality between measured numbers; whether it holds is computed, never written."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["reproduced", "not reproduced", "undecided"]


@dataclass(frozen=True)
class Interval:
    """Mean over seeds with a Student t interval; the ends are infinite with a single seed."""

    mean: float
    low: float
    high: float
    seeds: int

    def __str__(self) -> str:
        if self.seeds < 2:
            return f"{self.mean:.4g} (one seed)"
        return f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}]"


def over_seeds(values: Sequence[float], level: float = 0.95) -> Interval:
    """The mean of one number over seeds, with its two-sided t interval.

    Raises ValueError when there is no value, or for a level that is not between 0 and 1.
    """
    if not values:
        raise ValueError("values: empty; at least one seed is needed")
    if not 0 < level < 1:
        raise ValueError(f"level: {level}; must be between 0 and 1")
    mean = statistics.fmean(values)
    if len(values) < 2 or not math.isfinite(mean):
        return Interval(mean, -math.inf, math.inf, len(values))
    from scipy.stats import t

    half = float(t.ppf(0.5 + level / 2, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half, len(values))


@dataclass(frozen=True)
class Claim:
    """`left - right > margin` (or `<`), where `left` names a measured number and `right` another one or a constant.

    Differences are taken seed by seed, so that what the seeds share cancels. The outcome is decided by the interval:
    *reproduced* when all of it is on the claimed side of the margin, *not reproduced* when all of it is on the other
    side, *undecided* otherwise, as with a single seed; a difference that is not finite is *not reproduced*.
    `control` marks a negative control: a claim about what must not happen.
    """

    text: str
    left: str
    relation: Literal["above", "below"]
    right: str | float | int = 0.0
    margin: float = 0.0
    control: bool = False

    def __post_init__(self) -> None:
        if self.relation not in ("above", "below"):
            raise ValueError(f"relation: {self.relation!r}; allowed: 'above', 'below'")
        if not math.isfinite(self.margin) or (not isinstance(self.right, str) and not math.isfinite(self.right)):
            raise ValueError(f"right, margin: {self.right}, {self.margin}; must be finite")

    def difference(self, measured: Mapping[str, Sequence[float]]) -> Interval:
        """`left - right` over seeds."""
        left = self._values(measured, self.left)
        if isinstance(self.right, str):
            right = self._values(measured, self.right)
        else:
            right = [float(self.right)] * len(left)
        if len(left) != len(right):
            raise ValueError(f"claim: {len(left)} seeds of {self.left!r}, {len(right)} of {self.right!r}")
        return over_seeds([a - b for a, b in zip(left, right, strict=True)])

    def outcome(self, measured: Mapping[str, Sequence[float]]) -> Outcome:
        interval = self.difference(measured)
        if not math.isfinite(interval.mean):
            return "not reproduced"
        sign = 1.0 if self.relation == "above" else -1.0
        worst = sign * (interval.low if sign > 0 else interval.high)
        best = sign * (interval.high if sign > 0 else interval.low)
        if worst > sign * self.margin:
            return "reproduced"
        return "not reproduced" if best <= sign * self.margin else "undecided"

    @staticmethod
    def _values(measured: Mapping[str, Sequence[float]], name: str) -> Sequence[float]:
        if name not in measured:
            raise ValueError(f"claim: no number named {name!r} was measured; there are {', '.join(sorted(measured))}")
        return measured[name]
