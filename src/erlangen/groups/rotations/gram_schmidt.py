"""The 6-D representation of rotations of space: Gram-Schmidt in closed form, with its derivative written out."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from erlangen.groups.rotations.checks import Degenerate, raise_degenerate, require_last, require_mode, rotations
from erlangen.groups.rotations.planes import BLOCK, cross, dot, in_blocks, to_planes


def orthonormal_planes(planes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`[6, N]` -> the matrix as `[3, 3, N]` (row, column), ‖a1‖², ‖a2‖² and the squared length of the rest of a2."""
    a1, a2 = planes[:3], planes[3:]
    out = torch.empty(3, 3, planes.shape[1], dtype=planes.dtype, device=planes.device)
    first = dot(a1, a1)
    b1 = torch.mul(a1, first.rsqrt(), out=out[:, 0])
    along = dot(b1, a2)
    rest = torch.addcmul(a2, b1, along, value=-1)
    rest = torch.addcmul(rest, b1, dot(b1, rest), value=-1)  # again: what is left may be small beside what was taken
    left = dot(rest, rest)
    b2 = torch.mul(rest, left.rsqrt(), out=out[:, 1])
    for row, entry in enumerate(cross(b1, b2)):
        out[row, 2] = entry
    return out, first, torch.addcmul(left, along, along), left


def _careful(planes: Tensor) -> tuple[Tensor, Tensor]:
    """The few rows that are nearly parallel, zero, tiny, huge or not finite: `[3, 3, K]` and which are degenerate."""
    eps = torch.finfo(planes.dtype).eps
    a1, a2 = planes[:3], planes[3:]
    scale1, scale2 = a1.abs().amax(0), a2.abs().amax(0)
    zero = scale1 == 0
    unit_x = torch.zeros_like(a1)
    unit_x[0] = 1
    b1 = torch.where(zero, unit_x, a1 / scale1)
    b1 = b1 / dot(b1, b1).sqrt()
    a2 = a2 / torch.where(scale2 == 0, torch.ones_like(scale2), scale2)
    rest = a2 - dot(b1, a2) * b1
    rest = rest - dot(b1, rest) * b1
    parallel = dot(rest, rest) <= (16 * eps) ** 2
    # completion: the coordinate axis that is farthest from b1
    axis = torch.nn.functional.one_hot(b1.abs().argmin(0), 3).t().to(b1.dtype)
    other = axis - dot(b1, axis) * b1
    b2 = torch.where(parallel, other, rest)
    b2 = b2 / dot(b2, b2).sqrt()
    b2 = b2 - dot(b1, b2) * b1
    b2 = b2 / dot(b2, b2).sqrt()
    return torch.stack([b1, b2, torch.stack(cross(b1, b2))], 1), zero | parallel


_RANGE = {torch.float32: (1e-30, 1e30), torch.float64: (1e-250, 1e250)}


def _ordinary(first: Tensor, second: Tensor, quality: Tensor) -> bool:
    """Whether no row of a block needs care; NaN does."""
    least, most = _RANGE.get(first.dtype, (1e-30, 1e30))
    bounds = [*first.aminmax(), *second.aminmax(), quality.amin()]
    a, b, c, d, e = torch.stack(bounds).tolist()
    return a > least and b < most and c > least and d < most and e >= 1e-4


def _pull_back(x: Tensor, matrix: Tensor, grad: Tensor) -> Tensor:
    a, m, g = to_planes(x), to_planes(matrix).view(3, 3, -1), to_planes(grad).view(3, 3, -1)
    b1, b2, b3 = m[:, 0], m[:, 1], m[:, 2]
    g1, g2, g3 = g[:, 0], g[:, 1], g[:, 2]
    turn1 = (dot(g2, b3) - dot(g3, b2)) / dot(b2, a[3:])
    turn2 = dot(g3, b1) - dot(g1, b3)
    turn3 = dot(g1, b2) - dot(g2, b1)
    inverse = 1 / dot(b1, a[:3])
    turn2 = torch.addcmul(turn2, turn1, dot(b1, a[3:])) * inverse
    turn3 = turn3 * inverse
    first = torch.addcmul(turn3 * b2, turn2, b3, value=-1)
    return torch.cat([first, turn1 * b3]).t().contiguous()


class _GramSchmidt(Function):
    """`[N, 6]` -> `[N, 3, 3]`, and which rows are degenerate (None, cheaply, if none is)."""

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        out = torch.empty(len(x), 3, 3, dtype=x.dtype, device=x.device)
        bad = torch.zeros(0, dtype=torch.bool, device=x.device)
        for start in range(0, len(x), BLOCK):
            planes = to_planes(x[start : start + BLOCK])
            matrix, first, second, left = orthonormal_planes(planes)
            quality = left / second
            if not _ordinary(first, second, quality):
                least, most = _RANGE.get(x.dtype, (1e-30, 1e30))
                fine = (quality >= 1e-4) & (first > least) & (first < most) & (second > least) & (second < most)
                rows = (~fine).nonzero()[:, 0]
                matrix[..., rows], degenerate = _careful(planes[:, rows])
                if bool(degenerate.any()):
                    bad = bad if bad.numel() else torch.zeros(len(x), dtype=torch.bool, device=x.device)
                    bad[start + rows] = degenerate
            out[start : start + BLOCK] = matrix.view(9, -1).t().view(-1, 3, 3)
        return out, bad

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(inputs[0], *output)
        ctx.save_for_forward(inputs[0], *output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Any) -> Tensor:  # type: ignore[override]
        """With dM = M [ω]×, the components of ω are read off db1 and db2; this is the transpose of that map."""
        x, matrix, bad = ctx.saved_tensors
        out = in_blocks(_pull_back, x, matrix.reshape(-1, 9), grad.reshape(-1, 9))
        return torch.where(bad[:, None], 0.0, out) if bad.numel() else out

    @staticmethod
    def jvp(ctx: Any, direction: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        x, matrix, bad = ctx.saved_tensors
        b1, b2, b3 = matrix.unbind(-1)
        d1, d2 = direction[..., :3], direction[..., 3:]

        def along(u: Tensor, v: Tensor) -> Tensor:
            return (u * v).sum(-1, keepdim=True)

        first = along(b1, x[..., :3])
        turn3, turn2 = along(b2, d1) / first, -along(b3, d1) / first
        turn1 = (along(b3, d2) + along(b1, x[..., 3:]) * turn2) / along(b2, x[..., 3:])
        moved = [turn3 * b2 - turn2 * b3, turn1 * b3 - turn3 * b1, turn2 * b1 - turn1 * b2]
        out = torch.stack(moved, -1)
        return (torch.where(bad[..., None, None], 0.0, out) if bad.numel() else out), None

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor) -> tuple[Any, Any]:  # type: ignore[override]
        x = x.movedim(in_dims[0], 0)
        out, bad = _GramSchmidt.apply(x.flatten(0, -2))
        out = out.unflatten(0, x.shape[:-1])
        return (out, bad.unflatten(0, x.shape[:-1]) if bad.numel() else bad.expand(info.batch_size, 0)), (0, 0)


def from_6d(x: Float[Tensor, "*batch 6"], *, on_degenerate: Degenerate = "complete") -> Float[Tensor, "*batch 3 3"]:
    """Two vectors (a1, a2) -> the rotation whose first two **columns** are their Gram-Schmidt basis, the third b1 × b2.

        b1 = a1/‖a1‖,   b2 = (a2 - (b1·a2) b1)/‖·‖,   M = [b1 b2 b1×b2]

    A continuous right inverse exists (`to_6d`), as for no representation with four numbers or fewer. Unchanged when
    a vector is multiplied by a positive number; turned by Q when both vectors are: f(Q a1, Q a2) = Q f(a1, a2). It is
    continuous as a map, but a network that sees a symmetric object must still be discontinuous (Xiang and Li, 2020,
    arXiv:2008.11936). PyTorch3D's 6-D representation uses rows: `x` there gives the transpose of this matrix.

    A zero a1 is replaced by the x axis, an a2 parallel to a1 by the coordinate axis farthest from it, and these rows
    get gradient 0; `on_degenerate="raise"` names them in a ValueError instead.

    Source: Zhou, Barnes, Lu, Yang and Li, On the continuity of rotation representations in neural networks, 2019,
    arXiv:1812.07035.
    """
    require_last(x, 6, "x")
    require_mode(on_degenerate)
    out, bad = _GramSchmidt.apply(x.reshape(-1, 6))
    if on_degenerate == "raise" and bad.numel():
        raise_degenerate(bad.view(x.shape[:-1]), "vectors that are zero or parallel")
    return out.view(*x.shape[:-1], 3, 3)


def to_6d(matrix: Float[Tensor, "*batch 3 3"], *, project: bool = False) -> Float[Tensor, "*batch 6"]:
    """The first two columns, one after the other; `from_6d` returns the matrix.

    Raises ValueError for a matrix that is not a rotation unless `project`.
    """
    return rotations(matrix, project=project, n=3)[..., :2].mT.flatten(-2)
