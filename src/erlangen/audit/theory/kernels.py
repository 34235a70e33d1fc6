"""The kernel and the neural tangent kernel of an infinitely wide network, layer by layer."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from erlangen.stats.activations import Activation
from erlangen.stats.gaussian_expectations import pair_moment, pair_slope_moment, second_moment, slope_moment

Layers = Literal["all", "last"]


def kernel_recursion(
    activation: "str | Activation | Callable[[Tensor], Tensor]",
    C_b: float,
    C_W: float,
    depth: int,
    x: Tensor | None = None,
    *,
    K: float = 1.0,
    layers: Layers = "all",
) -> Tensor:
    """The covariance of pre-activations over initialisations: `K^(l+1) = C_b + C_W E[s(z) s(z)]_{K^(l)}`.

    Biases have variance `C_b`, weights `C_W / fan_in`; `K^(1) = C_b + C_W x x^T / n_0`. With inputs `x` `[n, n_0]` the
    answer is `[depth, n, n]`; without, it is the variance of one input, `[depth]`, starting at `K^(1) = K`.
    `layers="last"` keeps the last layer only, in float64 like all of it.

    Source: Roberts, Yaida and Hanin, "The Principles of Deep Learning Theory", 2022, arXiv:2106.10165.
    """
    activation = Activation(activation)
    _check(C_b, C_W, depth)
    if x is None:
        if not K > 0:
            raise ValueError(f"K: {K}; the variance of the first layer must be positive")
        value = torch.tensor(float(K), dtype=torch.float64)
        singles = [value]
        for _ in range(depth - 1):
            value = C_b + C_W * second_moment(activation, value)
            singles.append(value)
        return torch.stack(singles) if layers == "all" else value
    kernel = C_b + C_W * _gram(x)
    kept = [kernel]
    for _ in range(depth - 1):
        kernel = C_b + C_W * _expectation(kernel, lambda *k: pair_moment(activation, *k))
        kept = [*kept, kernel] if layers == "all" else [kernel]
    return torch.stack(kept) if layers == "all" else kernel


def ntk_recursion(
    activation: "str | Activation | Callable[[Tensor], Tensor]",
    C_b: float,
    C_W: float,
    depth: int,
    x: Tensor | None = None,
    *,
    lambda_b: float = 1.0,
    lambda_W: float = 1.0,
    K: float = 1.0,
    layers: Layers = "all",
) -> tuple[Tensor, Tensor]:
    """Kernel and neural tangent kernel, as `kernel_recursion` gives them:

        T^(l+1) = lambda_b + lambda_W E[s s] + C_W E[s' s'] T^(l),   T^(1) = lambda_b + lambda_W x x^T / n_0

    The learning rates are `lambda_b` for biases and `lambda_W / fan_in` for weights. The customary parametrisation by
    standard normal weights (neural-tangents) has `lambda_b = C_b` and `lambda_W = C_W`.
    """
    activation = Activation(activation)
    _check(C_b, C_W, depth)
    if min(lambda_b, lambda_W) < 0:
        raise ValueError(f"lambda_b, lambda_W: {lambda_b}, {lambda_W}; learning rates must not be negative")
    if x is None:
        kernel = torch.tensor(float(K), dtype=torch.float64)
        if not C_b < K or (C_W == 0 and C_b != K):
            raise ValueError(f"K: {K}; the first layer's variance must be above C_b = {C_b}")
        tangent = lambda_b + lambda_W * (kernel - C_b) / (C_W if C_W else 1.0)
    else:
        gram = _gram(x)
        kernel, tangent = C_b + C_W * gram, lambda_b + lambda_W * gram
    kernels, tangents = [kernel], [tangent]
    for _ in range(depth - 1):
        if x is None:
            moment, slope = second_moment(activation, kernel), slope_moment(activation, kernel)
        else:
            moment = _expectation(kernel, lambda *k: pair_moment(activation, *k))
            slope = _expectation(kernel, lambda *k: pair_slope_moment(activation, *k))
        tangent = lambda_b + lambda_W * moment + C_W * slope * tangent
        kernel = C_b + C_W * moment
        kernels = [*kernels, kernel] if layers == "all" else [kernel]
        tangents = [*tangents, tangent] if layers == "all" else [tangent]
    if layers == "last":
        return kernel, tangent
    return torch.stack(kernels), torch.stack(tangents)


def _gram(x: Tensor) -> Tensor:
    if x.dim() != 2 or not x.numel():
        raise ValueError(f"x: shape {tuple(x.shape)}; it must be [inputs, features]")
    if not bool(torch.isfinite(x).all()):
        raise ValueError("x: contains NaN or infinite values")
    x = x.double()
    return x @ x.T / x.shape[1]


def _expectation(kernel: Tensor, moment: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
    """The moment of every pair, in blocks of rows so that what is held beside the kernel stays small."""
    diagonal = kernel.diagonal().contiguous()
    out = torch.empty_like(kernel)
    block = max(1, (1 << 17) // len(kernel))
    for start in range(0, len(kernel), block):
        rows = slice(start, start + block)
        out[rows] = moment(diagonal[rows, None], diagonal[None, :], kernel[rows])
    return out


def _check(C_b: float, C_W: float, depth: int) -> None:
    if not (C_b >= 0 and C_W >= 0 and C_b < float("inf") and float("inf") > C_W):
        raise ValueError(f"C_b, C_W: {C_b}, {C_W}; variances must be finite and not negative")
    if depth < 1:
        raise ValueError(f"depth: {depth}; at least one layer is needed")
