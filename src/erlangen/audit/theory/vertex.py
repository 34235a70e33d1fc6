"""How far a network of finite width is from Gaussian: the four-point vertex, and the depth that it allows."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from erlangen.audit.theory.tuning import criticality
from erlangen.stats.activations import Activation
from erlangen.stats.gaussian_expectations import (
    fourth_moment,
    hermite_coefficients,
    second_moment,
    second_moment_slope,
)

ORDER = 128


@dataclass(frozen=True)
class FourPoint:
    """Kernel `K` and vertex `V` of every layer, `[depth]`, at one width.

    Across neurons of one layer `Cov(z_i^2, z_j^2) = V / n`; the excess kurtosis of a pre-activation is
    `3 V / (n K^2)`. `exact` tells whether V holds at every width or to leading order in 1/n.
    """

    K: Tensor
    V: Tensor
    width: int
    exact: bool

    @property
    def kurtosis(self) -> Tensor:
        """Excess kurtosis over initialisations of a pre-activation, by layer."""
        return 3 * self.V / (self.width * self.K.square())

    @property
    def fluctuation(self) -> Tensor:
        """`V / (n K^2)`: the squared relative spread of a layer's scale from one initialisation to the next."""
        return self.V / (self.width * self.K.square())


def four_point(
    activation: "str | Activation | Callable[[Tensor], Tensor]",
    depth: int,
    width: int,
    residual: float = 0.0,
    *,
    C_b: float | None = None,
    C_W: float | None = None,
    K: float | None = None,
) -> FourPoint:
    """Kernel and four-point vertex of one input through `z' = residual z + W s(z) + b`, hidden layers of equal width.

    Without `residual`: `V' = chi_parallel^2 V + C_W^2 (E[s^4] - E[s^2]^2)`, V = 0 in the first layer; for a
    scale-invariant activation without biases the answer is the one that holds at every width,
    `V = n K^2 ((1 + nu / n)^(l-1) - 1)`, `nu = 3 A4 / A2^2 - 1`.
    With it, a neuron remembers its own `s(z)^2` through the skip, so every Hermite coefficient of `s^2` feeds V: the
    tower `X_a = n Cov(h_2(z_i), h_a(z_j))` closes to leading order in 1/n, and `V = 2 K^2 X_2`.

    The tuning is the critical one unless given; the first layer has variance `K` (default: `K*`, or 1).
    Raises ValueError where there is no critical tuning and none is given.
    """
    activation = Activation(activation)
    if depth < 1 or width < 1:
        raise ValueError(f"depth, width: {depth}, {width}; both must be at least 1")
    if not 0 <= residual < 1:
        raise ValueError(f"residual: {residual}; it must be at least 0 and below 1")
    C_b, C_W, K = _tuning(activation, residual, C_b, C_W, K)
    kernels = [torch.tensor(K, dtype=torch.float64)]
    if residual == 0.0 and activation.slopes is not None and C_b == 0.0:
        for _ in range(depth - 1):
            kernels.append(C_W * second_moment(activation, kernels[-1]))
        layer = torch.arange(depth, dtype=torch.float64)
        kernel = torch.stack(kernels)
        growth = torch.expm1(layer * math.log1p(_rectifier_slope(activation) / width))
        return FourPoint(kernel, width * kernel.square() * growth, width, True)
    vertices = [torch.tensor(0.0, dtype=torch.float64)]
    tower = _Tower(activation, C_b, C_W, residual)
    for _ in range(depth - 1):
        kernels.append(tower.step(kernels[-1]))
        vertices.append(tower.vertex)
    return FourPoint(torch.stack(kernels), torch.stack(vertices), width, False)


def vertex_slope(activation: "str | Activation | Callable[[Tensor], Tensor]", *, residual: float = 0.0) -> float:
    """`nu`: what each layer adds to `V / K^2` at criticality in a deep network.

    `3 A4 / A2^2 - 1` for a scale-invariant activation (ReLU 5, linear 2), 2/3 in the class `K* = 0`. With skips it is
    the slope of the tower of `four_point` once its other entries have settled.
    """
    activation = Activation(activation)
    tuned = criticality(activation, residual=residual)
    if not tuned.exists:
        raise ValueError(f"activation: {activation.name!r} has no critical tuning: {tuned.notes}")
    if tuned.universality_class == "K*=0":
        # near 0 it is linear: 2 (1 - residual^4) a layer, of which the decay of K leaves a third
        return 2 * (1 - residual**4) / 3
    if activation.slopes is not None and residual == 0.0:
        return _rectifier_slope(activation)
    tower = _Tower(activation, tuned.C_b, tuned.C_W, residual)
    tower.settle(torch.tensor(1.0 if math.isnan(tuned.K_star) else tuned.K_star, dtype=torch.float64))
    return tower.slope


def optimal_aspect_ratio(
    activation: "str | Activation | Callable[[Tensor], Tensor]", n_out: int = 1, *, residual: float = 0.0
) -> float:
    """`(L/n)* = 4 / ((20 + 3 n_out) nu)`: the depth over width with most information between outputs of pairs.

    Where the mutual information of two outputs, `nu^2 r^2 n_L^2 / 16 - nu^3 r^3 n_L^2 (20 + 3 n_L) / 96`, is largest.
    A guide and no law: it is the maximum of a series that is cut at its second term.
    """
    if n_out < 1:
        raise ValueError(f"n_out: {n_out}; at least one output is needed")
    return 4 / ((20 + 3 * n_out) * vertex_slope(activation, residual=residual))


def _tuning(
    activation: Activation, residual: float, C_b: float | None, C_W: float | None, K: float | None
) -> tuple[float, float, float]:
    tuned = None
    if C_b is None or C_W is None:
        tuned = criticality(activation, residual=residual)
        if not tuned.exists:
            raise ValueError(
                f"activation: {activation.name!r} has no critical tuning ({tuned.notes}); give C_b and C_W"
            )
        C_b, C_W = tuned.C_b if C_b is None else C_b, tuned.C_W if C_W is None else C_W
    if K is None:
        K = tuned.K_star if tuned is not None and tuned.K_star > 0 else 1.0
    if not K > 0 or C_b < 0 or C_W < 0:
        raise ValueError(f"C_b, C_W, K: {C_b}, {C_W}, {K}; variances must not be negative, K must be positive")
    return float(C_b), float(C_W), float(K)


def _rectifier_slope(activation: Activation) -> float:
    assert activation.slopes is not None
    second = sum(a**2 for a in activation.slopes) / 2
    fourth = sum(a**4 for a in activation.slopes) / 2
    return 3 * fourth / second**2 - 1


class _Tower:
    """`X_a = n Cov(h_2(y_i), h_a(y_j))`, `y = z / sqrt(K)`, through the layers."""

    def __init__(self, activation: Activation, C_b: float, C_W: float, residual: float) -> None:
        self.activation, self.C_b, self.C_W, self.residual = activation, C_b, C_W, residual
        # without a skip nothing but a = 2 is fed
        self.x = torch.zeros((ORDER if residual else 2) + 1, dtype=torch.float64)
        self.kernel = torch.tensor(math.nan, dtype=torch.float64)

    @property
    def vertex(self) -> Tensor:
        return 2 * self.kernel.square() * self.x[2]

    def _squares(self, K: Tensor) -> tuple[Tensor, Tensor]:
        """Hermite coefficients of `s(sqrt(K) y)^2` and the variance of `s^2`, all orders."""
        spread = fourth_moment(self.activation, K) - second_moment(self.activation, K).square()
        if len(self.x) == 3:
            second = math.sqrt(2) * K * second_moment_slope(self.activation, K)
            return torch.stack([spread.new_tensor(0.0), spread.new_tensor(0.0), second]), spread
        return hermite_coefficients(lambda z: self.activation(z).square(), K, order=len(self.x) - 1), spread

    def _increment(self, K: Tensor, after: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`X` of the next layer, its correlation with this one, and what the other entries feed into `X_2`."""
        s, spread = self._squares(K)
        keep = self.residual * (K / after).sqrt()
        power = keep ** torch.arange(len(s), dtype=torch.float64) if self.residual else torch.zeros_like(s)
        gain = self.C_W / (math.sqrt(2) * after)
        x = power * ((keep.square() + gain * s[2]) * self.x + gain * s)
        others = torch.cat([s[1:2] * self.x[1:2], s[3:] * self.x[3:]]).sum()
        fed = 2 * keep.square() * gain * (s[2] + others) + gain.square() * (spread + 2 * s[2] * others)
        x[0], x[2] = 0.0, (keep.square() + gain * s[2]).square() * self.x[2] + fed
        return x, keep, fed

    def step(self, K: Tensor) -> Tensor:
        after = self.residual**2 * K + self.C_b + self.C_W * second_moment(self.activation, K)
        self.x = self._increment(K, after)[0]
        self.kernel = after
        return after

    def settle(self, K: Tensor) -> None:
        """Set all entries but `X_2`, which keeps growing, to where a critical network leaves them."""
        s, _ = self._squares(K)
        gain = self.C_W / (math.sqrt(2) * K)
        power = self.residual ** torch.arange(len(s), dtype=torch.float64) if self.residual else torch.zeros_like(s)
        own = power * (self.residual**2 + gain * s[2])
        self.x = torch.where(own < 1 - 1e-12, power * gain * s / (1 - own).clamp(min=1e-12), 0.0)
        self.x[0] = self.x[2] = 0.0
        self.slope = 2 * float(self._increment(K, K)[2])
