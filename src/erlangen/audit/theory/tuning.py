"""Critical initialisation: the variances at which neither signals nor gradients explode or vanish with depth."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.optimize import brentq
from torch import Tensor

from erlangen.stats.activations import Activation
from erlangen.stats.gaussian_expectations import second_moment, second_moment_slope, slope_moment


@dataclass(frozen=True)
class Criticality:
    """The critical tuning of an activation, or why there is none.

    `C_b`, `C_W` are the variances of biases and of weights times fan-in; `K_star` the variance of pre-activations that
    they keep (NaN where any is kept). `a_1` is the rate of the class `K* = 0`: `K^(l) -> 1 / (-a_1 l)`.
    """

    activation: str
    exists: bool
    C_b: float = math.nan
    C_W: float = math.nan
    K_star: float = math.nan
    universality_class: str = "not critical"
    notes: str = ""
    a_1: float = math.nan


def criticality(activation: "str | Activation | Callable[[Tensor], Tensor]", *, residual: float = 0.0) -> Criticality:
    """The `(C_b, C_W)` at which both susceptibilities are 1 at a fixed point of the kernel:

        chi_parallel = C_W g'(K*) = 1,   chi_perpendicular = C_W E[s'^2]_{K*} = 1,   K* = C_b + C_W g(K*)

    with `g(K) = E[s^2]_K`. The classes: `scale-invariant` (linear on both half lines; every K is kept), `K*=0`
    (smooth or bent at s(0) = 0, signals shrink as a power of depth) and `half-stable` (a fixed point that attracts from
    one side). An activation without such a point gets `exists=False` with the reason, not an exception. Blocks
    `z + ...` entered as `residual` times z divide both variances by `1 - residual^2`.

    Source: Roberts, Yaida and Hanin, "The Principles of Deep Learning Theory", 2022, arXiv:2106.10165, chapter 5.
    """
    activation = Activation(activation)
    if not 0 <= residual < 1:
        raise ValueError(f"residual: {residual}; it must be at least 0 and below 1")
    share, name = 1 - residual**2, activation.name
    if not activation.has_derivative:
        return Criticality(name, False, notes="it jumps, so gradients do not pass it: chi_perpendicular is not finite")
    if activation.slopes is not None:
        mean = sum(a * a for a in activation.slopes) / 2
        if mean == 0:
            return Criticality(name, False, notes="it is zero everywhere")
        return Criticality(
            name, True, 0.0, share / mean, math.nan, "scale-invariant", "any variance is kept through depth"
        )
    found = _at_zero(activation, share) or _at_a_point(activation, share)
    return found or Criticality(name, False, notes=_reason(activation))


def _at_zero(activation: Activation, share: float) -> Criticality | None:
    """The class `K* = 0`: s(0) = 0, a slope there, and signals that shrink rather than grow near 0."""
    zero = torch.zeros(1, dtype=torch.float64)
    if float(activation(zero).abs()) > 1e-12:
        return None
    step = torch.tensor([1e-7], dtype=torch.float64)
    right, left = float(activation(step) / step), float(activation(-step) / -step)
    slope = (right**2 + left**2) / 2
    if slope < 1e-12:
        return None
    if abs(right - left) > 1e-5 * math.sqrt(slope):  # a bend at 0: a rectifier at small scales
        change = float(second_moment(activation, 1e-6) / (slope * 1e-6)) - 1
        if change > -1e-12 and not _shrinks(activation, slope):
            return None
        note = "bent at 0; small signals see a rectifier and shrink more slowly than any signal that is not small"
        return Criticality(activation.name, True, 0.0, share / slope, 0.0, "K*=0", note)
    first, second, third = (float(activation.derivative(zero, order)) for order in (1, 2, 3))
    at = 1e-4
    slope = first**2 if first else slope
    measured = (float(second_moment(activation, at)) / (slope * at) - 1) / at
    a_1 = third / first + 0.75 * (second / first) ** 2 if first else math.nan
    smooth = math.isfinite(a_1) and abs(a_1 - measured) < 0.05 * (1 + abs(measured))
    if abs(measured) <= 1e-9 and _shrinks(activation, slope):
        note = "linear around 0: small signals keep their size, large ones shrink until they are small"
        return Criticality(activation.name, True, 0.0, share / slope, 0.0, "K*=0", note, 0.0)
    if measured >= -1e-9:
        return None
    if not smooth:  # one-sided second derivatives (ELU): no expansion in powers of K, the sign still decides
        note = "its curvature jumps at 0, so K shrinks as another power of depth than 1/l"
        return Criticality(activation.name, True, 0.0, share / slope, 0.0, "K*=0", note)
    note = f"K shrinks as 1 / ({-a_1 * share:.4g} l)"
    return Criticality(activation.name, True, 0.0, share / slope, 0.0, "K*=0", note, a_1 * share)


def _shrinks(activation: Activation, slope: float) -> bool:
    """Whether signals that are not small shrink, where small ones show nothing."""
    return float(second_moment(activation, 1.0)) < slope * (1 - 1e-9)


def _grid(activation: Activation) -> tuple[Tensor, Tensor, Tensor] | None:
    """Variances with both slopes of the kernel, up to the largest at which they are finite."""
    for largest in (4.0, 2.0, 0.5, -1.0, -2.0):
        grid = torch.logspace(-4, largest, 129, dtype=torch.float64)
        try:
            parallel, perpendicular = second_moment_slope(activation, grid), slope_moment(activation, grid)
        except ValueError:
            continue
        if bool(torch.isfinite(parallel + perpendicular).all()):
            return grid, parallel, perpendicular
    return None


def _at_a_point(activation: Activation, share: float) -> Criticality | None:
    """A fixed point at K* > 0 where both susceptibilities are 1: a root of `g'(K) - E[s'^2]` with `C_b >= 0`."""
    table = _grid(activation)
    if table is None:
        return None
    grid, parallel, perpendicular = table
    relative = (parallel - perpendicular) / perpendicular
    for i in range(len(grid) - 1):
        low, high = float(relative[i]), float(relative[i + 1])
        if low * high >= 0 or max(abs(low), abs(high)) < 1e-9:
            continue

        def difference(logarithm: float) -> float:
            K = math.exp(logarithm)
            return float(second_moment_slope(activation, K) / slope_moment(activation, K)) - 1

        K = math.exp(brentq(difference, math.log(grid[i]), math.log(grid[i + 1]), xtol=1e-13, rtol=1e-14))
        C_W = 1 / float(slope_moment(activation, K))
        C_b = K - C_W * float(second_moment(activation, K))
        if C_b < -1e-10 or not math.isfinite(C_W):
            continue
        up = C_W * float(second_moment_slope(activation, 1.01 * K)) > 1
        side = "below" if up else "above"
        note = f"K* attracts from {side} and repels on the other side"
        return Criticality(activation.name, True, share * max(C_b, 0.0), share * C_W, K, "half-stable", note)
    return None


def _reason(activation: Activation) -> str:
    table = _grid(activation)
    if table is None:
        return "its second moment is infinite, so no layer has a finite variance"
    ratio = table[1] / table[2]
    if bool((ratio < 1).all()):
        return "chi_parallel stays below chi_perpendicular at every K: what keeps gradients lets signals vanish"
    if bool((ratio > 1).all()):
        return "chi_parallel stays above chi_perpendicular at every K: what keeps gradients lets signals explode"
    return "where both susceptibilities are equal, the bias variance would have to be negative"
