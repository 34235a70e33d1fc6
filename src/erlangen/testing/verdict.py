"""The word for an error: `exact`, `round-off`, `approximate`, `broken` or `vacuous`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["exact", "round-off", "approximate", "broken", "vacuous"]


@dataclass(frozen=True)
class Thresholds:
    """Where the words change: relative errors, `‖f(g·x) − g·f(x)‖ / ‖g·f(x)‖`."""

    exact64: float = 1e-10
    exact32: float = 1e-4
    broken: float = 0.05
    noise_factor: float = 300.0  # a float32-only error this many times the round-off floor is structure


def judge(
    error64: float | None,
    error32: float | None,
    limits: Thresholds,
    *,
    floor32: float | None = None,
) -> Verdict:
    """The verdict from the worst error per precision (`None` where the model does not run).

    In float32 alone the error is compared with `floor32`, how much the output moves when the input moves by one
    rounding step: an error near that floor is round-off, an error far above it is structure.
    """
    if error64 is not None:
        if math.isnan(error64) or error64 >= limits.broken:
            return "broken"
        if error64 > limits.exact64:
            return "approximate"
        if error32 is not None and not error32 <= limits.exact32:
            return "round-off"
        return "exact"
    if error32 is None or math.isnan(error32):
        return "broken"
    near_floor = floor32 is not None and error32 <= limits.noise_factor * max(floor32, 6e-8)
    if near_floor:
        return "exact" if error32 <= limits.exact32 else "round-off"
    if floor32 is None and error32 <= limits.exact32:
        return "exact"
    return "broken" if error32 >= limits.broken else "approximate"
