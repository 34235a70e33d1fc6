"""Class vectors that are chosen before training: simplex, orthonormal, nearly equiangular."""

import math
import warnings
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen._registry import unknown_name
from erlangen.nn.equiangular_frames import Family, best_frame

Method = Literal["auto", "orthonormal", "simplex", "frame", "optimised"]
ROWS = 4096
STORED = 16_384
P_FIRST, P_LAST, STEP = 4.0, 600.0, 0.03
NEAR = 1.2  # times the Welch bound: what descent hardly reaches


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
    max_steps: int = 2500,
) -> Float[Tensor, "classes dim"]:
    """Unit vectors, as many as classes, whose pairwise |cosine| is at most `alpha`.

    `method="auto"`: orthonormal for C <= d, the simplex for C = d + 1 (which meets the Welch bound), else a frame of
    algebra (`equiangular_frames`) where one reaches `alpha`, or 1.2 times the bound without `alpha`: 1.05 times for 1,000
    classes in 200 dimensions, 1.02 for 1,000 in 500. Otherwise descent on the p-norm of the cosines with rising p, which
    ends at `alpha`, at 1.15 times the bound without, or after `max_steps`: at five times as many classes as dimensions
    it stops at 1.22, a local minimum that four times as many steps do not leave. The released code runs plain SGD on the
    hinge, which stalls higher, and exits silently where the bound forbids `alpha`.

    Source: Y. Shen, X. Sun, X.-S. Wei, Equiangular basis vectors, 2023, arXiv:2303.11637.

    Raises:
        ValueError: `alpha` below the Welch bound, which no vectors reach; sizes below 1.
    Warns:
        RuntimeWarning: the optimisation stopped above the `alpha` asked for; the message has the coherence that was reached.
    """
    bound = welch_bound(num_classes, dim)
    methods = ["auto", "orthonormal", "simplex", "frame", "optimised"]
    if method not in methods:
        raise unknown_name("method", method, methods)
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
    frame = best_frame(num_classes, dim) if method in ("auto", "frame") else None
    if method == "frame" and frame is None:
        raise ValueError(f"method: no known frame has {num_classes} vectors in {dim} dimensions; use 'optimised'")
    enough = goal if alpha is not None else NEAR * bound
    if frame is not None and (method == "frame" or frame.coherence <= enough + 1e-12):
        return _turned(frame, num_classes, dim, generator).to(dtype or torch.get_default_dtype())
    rows, reached = _optimise(num_classes, dim, goal, max_steps, generator)
    if frame is not None and frame.coherence < reached:
        rows, reached = _turned(frame, num_classes, dim, generator), frame.coherence
    if alpha is not None and reached > goal + 1e-4:
        warnings.warn(
            f"equiangular_prototypes: reached coherence {reached:.4g}, {goal:.4g} was asked for ({max_steps} steps)",
            RuntimeWarning,
            stacklevel=2,
        )
    return rows.to(dtype or torch.get_default_dtype())


def _turned(frame: Family, num_classes: int, dim: int, generator: torch.Generator | None) -> Tensor:
    """Vectors of a frame, in random order and turned at random, in the first of `dim` dimensions."""
    rows = frame.rows(num_classes)
    order = torch.randperm(num_classes, generator=generator)
    return rows[order] @ orthonormal_prototypes(frame.dim, dim, generator=generator, dtype=torch.float64)


def _optimise(
    num_classes: int, dim: int, goal: float, max_steps: int, generator: torch.Generator | None
) -> tuple[Tensor, float]:
    """The best rows found and their coherence.

    Adam on the sphere descends the p-norm of the cosines while p rises from 4, where all of them count, to 600, where
    little but the largest does, and the step shrinks to 0. The gradient is taken in blocks of rows, so that no matrix of
    all pairs exists for many classes.
    """
    rows = torch.nn.functional.normalize(torch.randn(num_classes, dim, generator=generator), dim=1)
    mean, square = torch.zeros_like(rows), torch.zeros_like(rows)
    best, reached = rows, coherence(rows)
    worst = reached
    for step in range(max_steps):
        if reached <= goal:
            break
        progress = step / max_steps
        power = P_FIRST * (P_LAST / P_FIRST) ** progress
        gradient, found = _norm_gradient(rows, power, worst)
        if found < reached:
            best, reached = rows, found
        worst = found
        gradient = gradient * (math.sqrt(num_classes) / gradient.norm().clamp(min=1e-30))
        gradient = gradient - (gradient * rows).sum(1, keepdim=True) * rows
        mean = mean.lerp(gradient, 0.1)
        square = square.lerp(gradient.square(), 0.01)
        length = STEP * (1 - progress) / math.sqrt(dim)
        moved = (mean / (1 - 0.9 ** (step + 1))) / ((square / (1 - 0.99 ** (step + 1))).sqrt() + 1e-8)
        rows = torch.nn.functional.normalize(rows - length * moved, dim=1)
    if coherence(rows) < reached:
        best = rows
    best = torch.nn.functional.normalize(best.double(), dim=1)
    return best, coherence(best)


def _norm_gradient(rows: Tensor, power: float, scale: float) -> tuple[Tensor, float]:
    """The gradient of the p-norm of all cosines up to a factor, and the largest of them; `scale` is near the largest."""
    gradient, worst = torch.empty_like(rows), 0.0
    for start in range(0, len(rows), ROWS):
        products = rows[start : start + ROWS] @ rows.T
        index = torch.arange(len(products))
        products[index, start + index] = 0.0
        sizes = products.abs()
        worst = max(worst, float(sizes.max()))
        pull = sizes.div_(scale).clamp_(max=1.1).pow_(power - 1).mul_(products.sign_())
        gradient[start : start + ROWS] = pull @ rows
    return gradient, worst
