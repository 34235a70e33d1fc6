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
    return _recursion(activation, C_b, C_W, depth, _gram(x), layers, None)[0]


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
    if x is not None:
        return _recursion(activation, C_b, C_W, depth, _gram(x), layers, (lambda_b, lambda_W))
    if not C_b < K or (C_W == 0 and C_b != K):
        raise ValueError(f"K: {K}; the first layer's variance must be above C_b = {C_b}")
    kernel = torch.tensor(float(K), dtype=torch.float64)
    tangent = lambda_b + lambda_W * (kernel - C_b) / (C_W if C_W else 1.0)
    kernels, tangents = [kernel], [tangent]
    for _ in range(depth - 1):
        moment = second_moment(activation, kernel)
        tangent = lambda_b + lambda_W * moment + C_W * slope_moment(activation, kernel) * tangent
        kernel = C_b + C_W * moment
        kernels, tangents = [*kernels, kernel], [*tangents, tangent]
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


def _recursion(
    activation: Activation,
    C_b: float,
    C_W: float,
    depth: int,
    gram: Tensor,
    layers: Layers,
    rates: tuple[float, float] | None,
) -> tuple[Tensor, Tensor]:
    """Kernels, and tangent kernels where there are `rates`, of all pairs.

    A pair needs nothing of another but the variances of its two inputs. So a block of the upper half is taken through
    all layers while it is in the cache, and mirrored at the end.
    """
    n = len(gram)
    variances = [C_b + C_W * gram.diagonal()]
    for _ in range(depth - 1):
        variances.append(C_b + C_W * second_moment(activation, variances[-1]))
    first = 0 if layers == "all" else depth - 1
    kernels = torch.empty(depth - first, n, n, dtype=gram.dtype)
    tangents = torch.empty_like(kernels) if rates is not None else kernels[:0]
    # a Hermite series is cheapest for many pairs at once
    block = max(1, (1 << 15) // n) if activation.pair is not None else n
    for start in range(0, n, block):
        rows, rest = slice(start, start + block), slice(start, None)
        part = gram[rows, rest]
        tangent = rates[0] + rates[1] * part if rates is not None else part
        kernel = C_b + C_W * part
        for layer in range(depth):
            if layer:
                a, b = variances[layer - 1][rows, None], variances[layer - 1][None, rest]
                moment = pair_moment(activation, a, b, kernel)
                if rates is not None:
                    slope = pair_slope_moment(activation, a, b, kernel)
                    tangent = slope.mul_(tangent).mul_(C_W).add_(moment, alpha=rates[1]).add_(rates[0])
                kernel = moment.mul_(C_W).add_(C_b)
            if layer >= first:
                kernels[layer - first, rows, rest] = kernel
                if rates is not None:
                    tangents[layer - first, rows, rest] = tangent
    for found in (*kernels, *tangents):
        _mirror(found)
    if layers == "last":
        return kernels[0], tangents[0] if rates is not None else tangents
    return kernels, tangents


def _mirror(matrix: Tensor, block: int = 64) -> None:
    """Copy the upper half to the lower one, in square blocks."""
    for i in range(0, len(matrix), block):
        for j in range(0, i, block):
            matrix[i : i + block, j : j + block] = matrix[j : j + block, i : i + block].T
        corner = matrix[i : i + block, i : i + block]
        corner.copy_(corner.triu() + corner.triu(1).T)


def _check(C_b: float, C_W: float, depth: int) -> None:
    if not (C_b >= 0 and C_W >= 0 and C_b < float("inf") and float("inf") > C_W):
        raise ValueError(f"C_b, C_W: {C_b}, {C_W}; variances must be finite and not negative")
    if depth < 1:
        raise ValueError(f"depth: {depth}; at least one layer is needed")
