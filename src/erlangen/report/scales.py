"""Linear and logarithmic axes: from numbers to positions, with round ticks."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Maps `[low, high]` to `[start, stop]`; what lies outside is moved to the nearer end."""

    low: float | int
    high: float | int
    start: float | int
    stop: float | int
    log: bool = False

    def __call__(self, value: float | int) -> float:
        low, high, at = self.low, self.high, value
        if self.log:
            at = math.log10(max(value, low))
            low, high = math.log10(low), math.log10(high)
        share = min(max((at - low) / (high - low), 0.0), 1.0)
        return float(round(self.start + share * (self.stop - self.start), 2))

    def ticks(self, count: int = 4) -> list[float | int]:
        """About `count` round numbers inside the domain."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            step = max(1, math.ceil((last - first + 1) / count))
            return [10.0**e for e in range(first, last + 1, step)]
        raw = (self.high - self.low) / max(count, 1)
        power = 10.0 ** math.floor(math.log10(raw))
        width = next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= raw * (1 - 1e-9))
        begin = math.ceil(self.low / width - 1e-9)
        digits = 12 - min(0, math.floor(math.log10(width)))
        found = [round(i * width, digits) for i in range(begin, math.floor(self.high / width + 1e-9) + 1)]
        return found or [self.low, self.high]


def fit_scale(
    values: Iterable[float | int], start: float | int, stop: float | int, *, log: bool | None = None
) -> Scale:
    """A scale that holds all finite `values`: 0 to 1 for shares, logarithmic where they span decades."""
    finite = sorted(v for v in values if math.isfinite(v))
    if not finite:
        return Scale(0.0, 1.0, start, stop)
    low, high = finite[0], finite[-1]
    positive = [v for v in finite if v > 0]
    if log is None:
        log = bool(positive) and low >= 0 and len(positive) >= 2 and positive[-1] / positive[0] > 200
    if log and positive:
        bottom = 10.0 ** math.floor(math.log10(positive[0]) + 1e-9)
        top = 10.0 ** math.ceil(math.log10(positive[-1]) - 1e-9)
        return Scale(max(bottom, 1e-300), top if top > bottom else bottom * 10, start, stop, log=True)
    if low >= 0 and high <= 1 and high > 0.25:
        return Scale(0.0, 1.0, start, stop)
    if low >= 0 and low < 0.6 * high:
        low = 0.0
    pad = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    return Scale(low if low == 0.0 else low - pad, high + pad, start, stop)
