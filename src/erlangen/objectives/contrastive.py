"""Contrast between the two views of a sample and everything else in the batch.

T. Chen, S. Kornblith, M. Norouzi, G. Hinton, "A Simple Framework for Contrastive Learning of Visual Representations",
2020, arXiv:2002.05709: NT-Xent, the loss of SimCLR.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from erlangen.objectives.terms import LossTerms

SAFE = 0.03  # above this temperature exp(-2 / t) is a normal float32
BITS = 1 / math.log(2)  # exponentials are powers of two, a third of the time of exp
ROWS = 256  # a block of powers stays in the cache between its product, its powers and its sums
SMALLEST_NORM = 1e-12


def _exponentials(a: Tensor, b: Tensor, own: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """exp(a_i . b_j / t - shift), 0 at j = own_i, and the shift: the largest exponent that can be."""
    scale = BITS / temperature
    if temperature >= SAFE:
        powers = torch.addmm(a.new_tensor(-scale).expand(1, 1), a * scale, b.mT).exp2_()
        powers.scatter_(1, own[:, None], 0)
        return powers, a.new_tensor(1 / temperature).expand(len(a))
    powers = (a * scale) @ b.mT
    powers.scatter_(1, own[:, None], -torch.inf)
    largest = powers.amax(1)
    return powers.sub_(largest[:, None]).exp2_(), largest / BITS


class _Parts(torch.autograd.Function):
    """Alignment and spread of one process's batch, from embeddings of any length.

    The matrix of powers exp((u_i . u_j - 1) / t) is symmetric: only the blocks on and above its diagonal are computed
    and kept for the gradient, `d spread / d u = (S P + P S) u / t` with S = diag(1 / (2n sum_j P_ij)).
    """

    @staticmethod
    def forward(ctx: Any, z1: Tensor, z2: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        n, z = len(z1), torch.cat([z1, z2])
        norm = torch.linalg.vector_norm(z, dim=1, keepdim=True).clamp_min_(SMALLEST_NORM)
        u = z.div_(norm)
        scale = BITS / temperature
        scaled, shift = u * scale, u.new_tensor(-scale).expand(1, 1)
        total, blocks = u.new_zeros(2 * n), []
        for start in range(0, 2 * n, ROWS):
            powers = torch.addmm(shift, scaled[start : start + ROWS], u[start:].mT).exp2_()
            rows = len(powers)
            powers.diagonal().zero_()
            total[start : start + rows] += powers.sum(1)
            total[start + rows :] += powers[:, rows:].sum(0)
            blocks.append(powers)
        ctx.save_for_backward(u, norm, total, *blocks)
        ctx.temperature = temperature
        return (1 - torch.dot(u[:n].flatten(), u[n:].flatten()) / n) / temperature, total.log().mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_alignment: Tensor, of_spread: Tensor) -> tuple[Tensor, Tensor, None]:
        u, norm, total, *blocks = ctx.saved_tensors
        n = len(u) // 2
        slope = u.roll(n, 0).mul_(-of_alignment / (n * ctx.temperature))
        share = (of_spread / (2 * n * ctx.temperature)) / total
        start = 0
        for powers in blocks:
            rows = len(powers)
            weights = (share[start : start + rows, None] + share[start:]).mul_(powers)
            slope[start : start + rows].addmm_(weights, u[start:])
            slope[start + rows :].addmm_(weights[:, rows:].mT, u[start : start + rows])
            start += rows
        slope.addcmul_(u, (slope * u).sum(1, keepdim=True), value=-1).div_(norm)
        return slope[:n], slope[n:], None


class _LogSumOthers(torch.autograd.Function):
    """log sum_{j != own_i} exp(a_i . b_j / t) of every row: one matrix of `rows x columns`, kept for the gradient."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor | None, own: Tensor, temperature: float) -> Tensor:
        columns = a if b is None else b
        powers, shift = _exponentials(a, columns, own, temperature)
        total = powers.sum(1)
        ctx.save_for_backward(a, columns, powers, total)
        ctx.single, ctx.temperature = b is None, temperature
        return total.log() + shift

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        a, b, powers, total = ctx.saved_tensors
        scale = (gradient / (total * ctx.temperature))[:, None]
        of_rows, of_columns = (powers @ b) * scale, powers.mT @ (a * scale)
        return (of_rows + of_columns, None, None, None) if ctx.single else (of_rows, of_columns, None, None)


def _precise(name: str, z: Tensor) -> Tensor:
    if not z.is_floating_point():
        raise TypeError(f"{name}: {z.dtype}; give floating point embeddings")
    if len(z) < 2:
        raise ValueError(f"{name}: a batch of {len(z)}; the other samples are the negatives, give at least 2")
    return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z


def nt_xent(
    z1: Float[Tensor, "batch dim"],
    z2: Tensor,
    *,
    temperature: float = 0.5,
    everyone: tuple[Tensor, Tensor, int] | None = None,
) -> LossTerms:
    """Normalised temperature-scaled cross-entropy: every view must find its partner among all other views.

    With unit vectors u over both views, `-(1 / 2n) sum_i log(exp(u_i . u_p(i) / t) / sum_{j != i} exp(u_i . u_j / t))`.
    The two parts are terms of weight one: `alignment`, the mean of (1 - u_i . u_p(i)) / t, and `spread`, the mean of
    log sum_{j != i} exp((u_i . u_j - 1) / t); their sum is the loss. Where all embeddings are one point alignment is 0
    and spread is log(2n - 1).

    Arguments:
        z1, z2: the two views, `[batch, dim]`; normalised here, in float32 under autocast.
        temperature: t.
        everyone: both views of the batch of all processes and where in it this process's begins.

    Raises:
        ValueError: shapes that differ, fewer than two samples, or a temperature that is not positive.
    """
    if z1.shape != z2.shape:
        raise ValueError(f"z2: shape {tuple(z2.shape)}, z1 has {tuple(z1.shape)}; the views must agree")
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature: {temperature}; it must be positive")
    whole = (z1, z2) if everyone is None else everyone[:2]
    n, start = len(whole[0]), 0 if everyone is None else everyone[2]
    with torch.autocast(z1.device.type, enabled=False):
        views = [_precise("z1", whole[0]), _precise("z2", whole[1])]
        if everyone is None and temperature >= SAFE:
            alignment, spread = _Parts.apply(*views, temperature)
            return LossTerms({"alignment": alignment, "spread": spread})
        columns = F.normalize(torch.cat(views), dim=1)
        here = torch.arange(start, start + len(z1), device=z1.device)
        own = torch.cat([here, here + n])
        if everyone is None:
            rows, others = columns, _LogSumOthers.apply(columns, None, own, temperature)
        else:
            rows = columns[own]
            others = _LogSumOthers.apply(rows, columns, own, temperature)
        partner = (rows[: len(z1)] * rows[len(z1) :]).sum(1).mean()
        return LossTerms({"alignment": (1 - partner) / temperature, "spread": others.mean() - 1 / temperature})
