"""Class vectors that are chosen before training: simplex, orthonormal, nearly equiangular."""

import math
import warnings
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen._registry import unknown_name

Method = Literal["auto", "orthonormal", "simplex", "optimised"]
ROWS = 4096
STORED = 16_384


def simplex_prototypes(
    num_classes: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Float[Tensor, "classes dim"]:
    """The vertices of a regular simplex: `K` unit vectors in `R^(K-1)` with pairwise cosine `-1 / (K - 1)`, sum 0.

    `e_0 .. e_(n-1)` and `(1 - √(1 + n)) / n · 1` with n = K - 1, centred and normalised, in float64 inside. Permuting
    the vertices is an orthogonal map. Source: F. Pernici et al., Regular polytope networks, 2021, arXiv:2103.15632.

    Raises:
        ValueError: fewer than two classes, or so many that the matrix should not be stored (see `FixedClassifier`).
    """
    if num_classes < 2:
        raise ValueError(f"num_classes: {num_classes}; a simplex has at least 2 vertices")
    if num_classes > STORED:
        size = num_classes * (num_classes - 1) * 4 / 2**30
        raise ValueError(
            f"num_classes: the {num_classes} vertices would take {size:.1f} GiB; FixedClassifier('simplex', ...) computes "
            "their products without storing them"
        )
    n = num_classes - 1
    vertices = torch.cat(
        [
            torch.eye(n, dtype=torch.float64, device=device),
            torch.full((1, n), (1 - math.sqrt(1 + n)) / n, dtype=torch.float64, device=device),
        ]
    )
    vertices = vertices - vertices.mean(0)
    vertices = vertices / vertices.norm(dim=1, keepdim=True)
    return vertices.to(dtype or torch.get_default_dtype())


def simplex_logits(features: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch classes"]:
    """`features @ simplex_prototypes(dim + 1).T` in O(dim) a sample, without the matrix.

    With n = dim, v = (1 - √(1+n)) / n, m = (1 + v) / (n + 1) and c = √((1 - m)² + (n - 1) m²): logit i is
    `(h_i - m Σh) / c` for i < n and the last one `(v - m) Σh / c`.
    """
    n = features.shape[-1]
    v = (1 - math.sqrt(1 + n)) / n
    m = (1 + v) / (n + 1)
    c = math.sqrt((1 - m) ** 2 + (n - 1) * m**2)
    total = features.sum(-1, keepdim=True)
    return torch.cat([features - m * total, (v - m) * total], -1) / c


def orthonormal_prototypes(
    num_classes: int, dim: int, *, generator: torch.Generator | None = None, dtype: torch.dtype | None = None
) -> Float[Tensor, "classes dim"]:
    """Random orthonormal rows, uniform over such frames. Raises ValueError for more classes than dimensions."""
    if not 1 <= num_classes <= dim:
        raise ValueError(f"num_classes: {num_classes}; between 1 and dim = {dim} vectors can be orthonormal")
    q, r = torch.linalg.qr(torch.randn(dim, num_classes, dtype=torch.float64, generator=generator))
    q = q * torch.where(torch.diagonal(r) < 0, -1.0, 1.0)
    return q.T.contiguous().to(dtype or torch.get_default_dtype())


def welch_bound(num_classes: int, dim: int) -> float:
    """The least possible largest |cosine| between `num_classes` lines in `R^dim`: `√((C - d) / (d (C - 1)))`, 0 for C <= d."""
    if num_classes < 1 or dim < 1:
        raise ValueError(f"num_classes, dim: {num_classes}, {dim}; both are at least 1")
    if num_classes <= dim or num_classes == 1:
        return 0.0
    return math.sqrt((num_classes - dim) / (dim * (num_classes - 1)))


def coherence(prototypes: Float[Tensor, "classes dim"]) -> float:
    """The largest |cosine| between two different rows, in blocks: no matrix of all pairs is made."""
    unit = torch.nn.functional.normalize(prototypes.double(), dim=1)
    worst = 0.0
    for start in range(0, len(unit), ROWS):
        products = (unit[start : start + ROWS] @ unit.T).abs()
        rows = torch.arange(len(products), device=unit.device)
        products[rows, start + rows] = 0.0
        worst = max(worst, float(products.max()))
    return worst


def equiangular_prototypes(
    num_classes: int,
    dim: int,
    alpha: float | None = None,
    *,
    method: Method = "auto",
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    max_steps: int = 5000,
) -> Float[Tensor, "classes dim"]:
    """Unit vectors, as many as classes, whose pairwise |cosine| is at most `alpha`.

    `method="auto"`: orthonormal for C <= d, the simplex for C = d + 1 (which meets the Welch bound), else Adam on
    `Σ relu(|w_i · w_j| - alpha)²` over unit rows, with `alpha` 1.15 times the Welch bound unless given. The released code
    runs plain SGD on the hinge without a square, which stalls, and exits silently where the bound forbids `alpha`.

    Source: Y. Shen, X. Sun, X.-S. Wei, Equiangular basis vectors, 2023, arXiv:2303.11637.

    Raises:
        ValueError: `alpha` below the Welch bound, which no vectors reach; sizes below 1.
    Warns:
        RuntimeWarning: the optimisation stopped above `alpha`; the message has the coherence that was reached.
    """
    bound = welch_bound(num_classes, dim)
    if method not in ("auto", "orthonormal", "simplex", "optimised"):
        raise unknown_name("method", method, ["auto", "orthonormal", "simplex", "optimised"])
    if alpha is not None and alpha < bound - 1e-12:
        raise ValueError(
            f"alpha: {alpha} for {num_classes} vectors in {dim} dimensions; the Welch bound is {bound:.4g}"
        )
    if method == "orthonormal" or (method == "auto" and num_classes <= dim):
        return orthonormal_prototypes(num_classes, dim, generator=generator, dtype=dtype)
    if method == "simplex" or (method == "auto" and num_classes == dim + 1):
        if num_classes != dim + 1:
            raise ValueError(f"method: a simplex of {num_classes} vertices needs dim = {num_classes - 1}, got {dim}")
        return simplex_prototypes(num_classes, dtype=dtype)
    goal = alpha if alpha is not None else min(1.15 * bound, 1.0)
    rows, reached = _optimise(num_classes, dim, goal, max_steps, generator)
    if reached > goal + 1e-4:
        warnings.warn(
            f"equiangular_prototypes: reached coherence {reached:.4g}, {goal:.4g} was asked for ({max_steps} steps)",
            RuntimeWarning,
            stacklevel=2,
        )
    return rows.to(dtype or torch.get_default_dtype())


def _optimise(
    num_classes: int, dim: int, goal: float, max_steps: int, generator: torch.Generator | None
) -> tuple[Tensor, float]:
    """The best rows found and their coherence; the gradient is taken block by block."""
    rows = torch.nn.functional.normalize(torch.randn(num_classes, dim, generator=generator), dim=1)
    rows.requires_grad_()
    optimizer = torch.optim.Adam([rows], lr=0.02)
    best, reached = rows.detach().clone(), coherence(rows.detach())
    margin = goal * 0.995
    for step in range(max_steps):
        if reached <= goal:
            break
        if step == max_steps // 2:
            optimizer.param_groups[0]["lr"] *= 0.2
        optimizer.zero_grad()
        unit = torch.nn.functional.normalize(rows, dim=1)
        worst = 0.0
        parts = list(range(0, num_classes, ROWS))
        for start in parts:
            products = unit[start : start + ROWS] @ unit.T
            index = torch.arange(len(products))
            excess = (products.abs() - margin).clamp_min(0)
            mask = torch.ones_like(excess)
            mask[index, start + index] = 0
            excess = excess * mask
            worst = max(worst, float(excess.detach().max()))
            excess.square().sum().backward(retain_graph=start != parts[-1])
        if worst + margin < reached and worst > 0:
            best, reached = unit.detach().clone(), worst + margin
        elif worst == 0:
            best = unit.detach().clone()
            reached = coherence(best)
        optimizer.step()
    best = torch.nn.functional.normalize(best.double(), dim=1)
    return best, coherence(best)
