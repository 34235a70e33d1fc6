"""Expectations of functions of one or two Gaussian variables: closed forms, a Hermite series, and quadrature.

Integrals are taken by the double-exponential rule on every piece between two kinks, so that a bend (ReLU) or a narrow
flank (tanh of a large variance) costs no digits; the step is halved until two results agree.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from erlangen.stats.activations import Activation
from erlangen.stats.gaussian_closed_forms import correlation

TOLERANCE = 1e-13
REACH = (13.0, 20.0, 37.0)
FINEST = 9
SERIES = 160


def expect(f: Callable[..., Tensor], K: Any, *, kinks: Sequence[float] = (0.0,)) -> Tensor:
    """`E[f(z)]`, `z ~ N(0, K)`, for every variance in `K`; `E[f(u, v)]` where `K` ends in a `[2, 2]` covariance.

    `f` is called with float64 tensors and keeps their shape. `kinks` are the points at which it, or its derivative,
    jumps (in both arguments). Accurate to about 12 digits for functions that are smooth between kinks.

    Raises ValueError for a variance that is negative or not finite, a matrix that is no covariance, or an integral that
    does not exist or cannot be resolved.
    """
    K = torch.as_tensor(K, dtype=torch.float64)
    if not bool(torch.isfinite(K).all()):
        raise ValueError("K: contains NaN or infinite values; variances must be finite")
    if K.dim() >= 2 and K.shape[-2:] == (2, 2):
        return _expect_two(f, K, tuple(kinks))
    if bool((K < 0).any()):
        raise ValueError(f"K: {float(K.min())} is no variance; it must not be negative")
    return _expect_one(f, K, tuple(kinks))


def second_moment(activation: Activation, K: Any) -> Tensor:
    """`g(K) = E[s(z)^2]`."""
    K = _variance(K)
    if activation.pair is not None:
        return activation.pair(K, K, K)
    return expect(lambda z: activation(z).square(), K, kinks=activation.kinks)


def fourth_moment(activation: Activation, K: Any) -> Tensor:
    """`E[s(z)^4]`."""
    K = _variance(K)
    if activation.slopes is not None:
        negative, positive = activation.slopes
        return 1.5 * (negative**4 + positive**4) * K.square()
    return expect(lambda z: activation(z).square().square(), K, kinks=activation.kinks)


def slope_moment(activation: Activation, K: Any) -> Tensor:
    """`E[s'(z)^2]`; infinite for an activation that jumps."""
    K = _variance(K)
    if not activation.has_derivative:
        return torch.full_like(K, math.inf)
    if activation.pair_slope is not None:
        return activation.pair_slope(K, K, K)
    return expect(lambda z: activation.derivative(z).square(), K, kinks=activation.kinks)


def second_moment_slope(activation: Activation, K: Any) -> Tensor:
    """`g'(K) = E[s(z)^2 (z^2 - K)] / (2 K^2)`."""
    K = _variance(K)
    if bool((K <= 0).any()):
        raise ValueError(f"K: {float(K.min())}; the derivative is taken at positive variances")
    if activation.slopes is not None:
        return torch.full_like(K, sum(a * a for a in activation.slopes) / 2)
    behind = K.unsqueeze(-1)  # the nodes of the quadrature come last
    return expect(
        lambda z: activation(z).square() * (z.square() - behind) / (2 * behind.square()), K, kinks=activation.kinks
    )


def pair_moment(activation: Activation, aa: Tensor, bb: Tensor, ab: Tensor) -> Tensor:
    """`E[s(u) s(v)]` for pairs with variances `aa`, `bb` and covariance `ab` (of one shape after broadcasting).

    By closed form where there is one; else by the Hermite series in the correlation wherever the energy left out of it
    bounds its error by 1e-12, and by quadrature for the other pairs.
    """
    if activation.pair is not None:
        return activation.pair(aa, bb, ab)
    return _pair(activation, activation.function, aa, bb, ab)


def pair_slope_moment(activation: Activation, aa: Tensor, bb: Tensor, ab: Tensor) -> Tensor:
    """`E[s'(u) s'(v)]`, computed as `pair_moment` is."""
    if activation.pair_slope is not None:
        return activation.pair_slope(aa, bb, ab)
    return _pair(activation, activation.derivative, aa, bb, ab)


def hermite_coefficients(f: Callable[[Tensor], Tensor], K: Any, *, order: int = SERIES) -> Tensor:
    """`E[f(sqrt(K) t) h_a(t)]`, a = 0 ... `order`, with orthonormal Hermite polynomials; `[..., order + 1]`.

    `f` may bend at 0 and nowhere else.
    """
    K = _variance(K)
    t, basis = _hermite_functions(order)
    value = f(K.sqrt().unsqueeze(-1) * t)
    return value @ basis


def _variance(K: Any) -> Tensor:
    K = torch.as_tensor(K, dtype=torch.float64)
    if not bool((K >= 0).all()) or not bool(torch.isfinite(K).all()):
        raise ValueError(f"K: {K.flatten()[:3].tolist()}; variances must be finite and not negative")
    return K


@lru_cache(maxsize=16)
def _double_exponential(level: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights on (0, 1), as distance from the nearer end and whether it is the right one, by the tanh-sinh rule."""
    s = torch.arange(-int(3.3 * 2**level), int(3.3 * 2**level) + 1, dtype=torch.float64) / 2**level
    inner = math.pi / 2 * s.sinh()
    near = 1 / (1 + (2 * inner.abs()).exp())
    weight = math.pi / 4 * s.cosh() / inner.cosh().square() / 2**level
    return torch.where(s < 0, near, -near), weight


def _pieces(breaks: Tensor, level: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights between the sorted `breaks` `[..., m]`: two tensors `[..., (m - 1) nodes]`."""
    place, weight = _double_exponential(level)
    low, high = breaks[..., :-1, None], breaks[..., 1:, None]
    width = high - low
    nodes = torch.where(place > 0, low + width * place, high + width * place)
    return nodes.flatten(-2), (width * weight).flatten(-2)


def _density(t: Tensor) -> Tensor:
    return torch.exp(-t * t / 2) / math.sqrt(2 * math.pi)


def _refine(rule: Callable[[int, float], tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """`rule(level, reach)` gives the integral, that of the absolute value, and the integrand at the ends: finer and
    wider until nothing changes."""
    for reach in REACH:
        last, _, _ = rule(3, reach)
        for level in range(4, FINEST + 1):
            value, size, edge = rule(level, reach)
            if not bool(torch.isfinite(value).all()):
                break
            if bool(((value - last).abs() <= 10 * TOLERANCE * size).all()):
                if bool((edge <= 1e-15 * size).all()):
                    return value
                break  # the tail beyond the reach still counts
            last = value
    raise ValueError(
        "f: its expectation does not exist or cannot be resolved; name the points where it jumps in `kinks`"
    )


def _expect_one(f: Callable[..., Tensor], K: Tensor, kinks: tuple[float, ...]) -> Tensor:
    root = K.sqrt().unsqueeze(-1)
    safe = root.clamp(min=1e-300)

    def rule(level: int, reach: float) -> tuple[Tensor, Tensor, Tensor]:
        inner = [(k / safe).clamp(-reach, reach) for k in kinks] or [torch.zeros_like(root)]
        ends = torch.full_like(root, reach)
        t, weight = _pieces(torch.cat([-ends, *inner, ends], -1).sort(-1).values, level)
        parts = f(root * t) * _density(t) * weight
        tail = torch.cat([-ends, ends], -1)
        return parts.sum(-1), parts.abs().sum(-1), (f(root * tail).abs() * _density(tail)).amax(-1)

    return _refine(rule)


def _expect_two(f: Callable[..., Tensor], K: Tensor, kinks: tuple[float, ...]) -> Tensor:
    aa, bb, ab = K[..., 0, 0], K[..., 1, 1], K[..., 0, 1]
    if not torch.allclose(ab, K[..., 1, 0]):
        raise ValueError("K: is not symmetric; it must be the covariance of (u, v)")
    if bool((aa < 0).any() or (bb < 0).any() or (ab * ab > aa * bb * (1 + 1e-12) + 1e-300).any()):
        raise ValueError("K: is no covariance; it must be positive semidefinite")
    flat = [part.flatten() for part in (aa, bb, ab)]
    values = [_expect_pair(f, float(a), float(b), float(c), kinks) for a, b, c in zip(*flat, strict=True)]
    return torch.stack(values).view(aa.shape)


def _expect_pair(f: Callable[..., Tensor], aa: float, bb: float, ab: float, kinks: tuple[float, ...]) -> Tensor:
    """`u = sqrt(aa) x`, `v = slope x + spread w`: the inner integral is cut where v passes a kink."""
    root_a, slope = math.sqrt(aa), ab / math.sqrt(aa) if aa > 0 else 0.0
    spread = math.sqrt(max(bb - slope * slope, 0.0))
    if spread <= 1e-9 * math.sqrt(bb) or bb == 0.0:
        outer = [k / c for k in kinks for c in (root_a, slope) if c != 0]
        return _expect_one(lambda x: f(root_a * x, slope * x), torch.tensor(1.0, dtype=torch.float64), tuple(outer))

    def rule(level: int, reach: float) -> tuple[Tensor, Tensor, Tensor]:
        # where v's own kink becomes sharp in x, the outer integral is cut too
        cuts = [k / c for k in kinks for c in (root_a, slope) if abs(c) > 1e-12]
        ends = torch.tensor([-reach, *(c for c in cuts if abs(c) < reach), reach, 0.0], dtype=torch.float64)
        x, outer = _pieces(ends.unique(), level)
        inner = [((k - slope * x) / spread).clamp(-reach, reach) for k in kinks] or [torch.zeros_like(x)]
        edge = torch.full_like(x, reach)
        w, weight = _pieces(torch.stack([-edge, *inner, edge], -1).sort(-1).values, level)
        u = (root_a * x).unsqueeze(-1)
        grid = f(u.expand_as(w), slope * x.unsqueeze(-1) + spread * w) * _density(w) * weight
        grid = grid * (_density(x) * outer).unsqueeze(-1)
        corner = torch.stack([-edge, edge], -1)
        rim = f(u.expand_as(corner), slope * x.unsqueeze(-1) + spread * corner).abs() * _density(corner)
        return grid.sum(), grid.abs().sum(), (rim.amax(-1) * _density(x)).max()

    return _refine(rule)


@lru_cache(maxsize=4)
def _hermite_functions(order: int) -> tuple[Tensor, Tensor]:
    """Nodes `t` and `h_a(t) * density * weight`, `[nodes, order + 1]`, cut finely about 0."""
    rule = _legendre(16)
    fine = [0.5 * 2.0**-j for j in range(12, 0, -1)]
    edges = torch.tensor([0.0, *fine, *(0.5 * j for j in range(1, 29))], dtype=torch.float64)
    low, high = edges[:-1, None], edges[1:, None]
    half = (low + (high - low) * (rule[0] + 1) / 2).flatten()
    weight = ((high - low) / 2 * rule[1]).flatten()
    t, weight = torch.cat([-half.flip(0), half]), torch.cat([weight.flip(0), weight])
    # h_a sqrt(density), which does not overflow, by the recursion of the orthonormal polynomials
    root = torch.exp(-t * t / 4) / (2 * math.pi) ** 0.25
    rows = [root, t * root]
    for a in range(1, order):
        rows.append((t * rows[a] - math.sqrt(a) * rows[a - 1]) / math.sqrt(a + 1))
    return t, torch.stack(rows[: order + 1], 1) * (root * weight).unsqueeze(1)


def _legendre(order: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss and Legendre on (-1, 1), from the Jacobi matrix."""
    k = torch.arange(1, order, dtype=torch.float64)
    off = k / (4 * k * k - 1).sqrt()
    values, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return values, 2 * vectors[0].square()


def _pair(activation: Activation, f: Callable[[Tensor], Tensor], aa: Tensor, bb: Tensor, ab: Tensor) -> Tensor:
    aa, bb, ab = aa.double(), bb.double(), ab.double()
    _, rho = correlation(aa, bb, ab)
    value = torch.full_like(rho, math.nan)
    if activation.kinks == (0.0,):
        value = _series(f, aa, bb, rho)
    aa, bb, ab, value = torch.broadcast_tensors(aa, bb, ab, value)
    left = value.isnan()
    if bool(left.any()):
        value = value.clone()
        rest = torch.stack([aa[left], bb[left], ab[left]], -1)
        distinct, where = torch.unique(rest, dim=0, return_inverse=True)
        found = [_expect_pair(lambda u, v: f(u) * f(v), a, b, c, activation.kinks) for a, b, c in distinct.tolist()]
        value[left] = torch.stack(found)[where]
    return value


def _series(f: Callable[[Tensor], Tensor], aa: Tensor, bb: Tensor, rho: Tensor) -> Tensor:
    """The Hermite series in the correlation; NaN where what it leaves out could be more than 1e-12.

    `|rest| <= |rho|^(m+1) sqrt(left_a left_b)`, `left` being the energy of the function beyond order m; on the diagonal
    (`rho` = 1) the energy itself is the answer.
    """
    levels, index = torch.unique(torch.cat([aa.flatten(), bb.flatten()]), return_inverse=True)
    coefficients = hermite_coefficients(f, levels)
    energy = hermite_coefficients(lambda z: f(z).square(), levels, order=1)[:, 0]
    left = (energy - coefficients.square().sum(-1)).clamp(min=0) + 1e-15 * energy
    a, b = index[: aa.numel()].view(aa.shape), index[aa.numel() :].view(bb.shape)
    # a common variance (inputs of one length) leaves a polynomial in the correlation alone
    if len(levels) == 1:
        products = coefficients[0].square()
        total = torch.full_like(rho, float(products[-1]))
        for c in products[:-1].flip(0).tolist():
            total = total.mul_(rho).add_(c)
    else:
        total = (coefficients[a][..., -1] * coefficients[b][..., -1]).expand_as(rho).clone()
        for order in range(coefficients.shape[1] - 2, -1, -1):
            column = coefficients[:, order].contiguous()
            total.mul_(rho).addcmul_(column[a], column[b])
    rest = rho.abs() ** coefficients.shape[1] * (left[a] * left[b]).sqrt()
    same = (rho >= 1 - 1e-15) & (a == b)
    total = torch.where(same, energy[a], total)
    return torch.where((rest <= 1e-12 * (1 + total.abs())) | same, total, math.nan)
