"""Rotations of R^n from n - 1 vectors, orthogonal matrices from n: Gram-Schmidt in any dimension."""

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.groups.rotations.checks import Degenerate, occurs, raise_degenerate, require_mode, rotations


def generalized_cross(a: Float[Tensor, "*batch n m"]) -> Float[Tensor, "*batch n"]:
    """The vector product of the n - 1 columns of `a` in R^n: c_i = det [a | e_i], perpendicular to all of them.

    n = 3: a1 × a2; n = 2: a quarter turn to the left. It follows rotations: cross(R a) = R cross(a).

    Raises ValueError unless `a` has n rows and n - 1 columns.
    """
    n = a.shape[-2]
    if a.shape[-1] != n - 1 or n < 2:
        raise ValueError(f"a: expected [..., n, n - 1] with n >= 2, given shape {tuple(a.shape)}")
    if n == 3:
        return torch.linalg.cross(a[..., 0], a[..., 1], dim=-1)
    keep = torch.tensor([[j for j in range(n) if j != i] for i in range(n)], device=a.device)
    minors = a[..., keep, :]  # [*batch, n, n - 1, n - 1]
    signs = torch.tensor([(-1.0) ** (i + n - 1) for i in range(n)], dtype=a.dtype, device=a.device)
    return torch.linalg.det(minors) * signs


def _completion(columns: list[Tensor], like: Tensor) -> Tensor:
    """The coordinate axis farthest from the span of these orthonormal columns."""
    n = like.shape[-1]
    if not columns:
        axis = torch.zeros_like(like)
        axis[..., 0] = 1
        return axis
    shadow = torch.stack(columns, -1).square().sum(-1)
    return torch.nn.functional.one_hot(shadow.argmin(-1), n).to(like.dtype)


def _perpendicular(v: Tensor, columns: list[Tensor]) -> Tensor:
    if not columns:
        return v
    basis = torch.stack(columns, -1)
    for _ in range(2):  # twice: the first difference may be small beside what was taken away
        v = v - (basis @ (basis.mT @ v[..., None]))[..., 0]
    return v


def _last_column(columns: list[Tensor]) -> Tensor:
    """The unit vector perpendicular to n - 1 orthonormal columns with determinant +1.

    Its value comes without gradient from a complete QR; projecting that vector off the columns changes nothing, and
    carries the derivative, because the complement has one dimension.
    """
    a = torch.stack(columns, -1)
    n = a.shape[-2]
    if n == 3:
        return torch.linalg.cross(a[..., 0], a[..., 1], dim=-1)
    with torch.no_grad():
        normal = torch.linalg.qr(a, mode="complete")[0][..., -1]
        normal = normal * torch.sign(torch.linalg.det(torch.cat([a, normal[..., None]], -1)))[..., None]
    normal = _perpendicular(normal, columns)
    return normal / normal.norm(dim=-1, keepdim=True)


def from_columns(
    a: Float[Tensor, "*batch n m"], *, on_degenerate: Degenerate = "complete"
) -> Float[Tensor, "*batch n n"]:
    """Gram-Schmidt on the columns of `a`: n - 1 of them give SO(n), with the generalised vector product as the last
    column; n of them give O(n).

    The continuous representations of SO(n) by n² - n numbers and of O(n) by n². f(Q a) = Q f(a) for every rotation Q, and
    every column may be multiplied by a positive number. A column that depends on those before it is replaced by the
    coordinate axis farthest from their span, and its matrix gets gradient 0; `on_degenerate="raise"` names the matrices.

    Raises ValueError for other numbers of columns.

    Source: Zhou et al., 2019, arXiv:1812.07035, section 4.1.
    """
    n, count = a.shape[-2:]
    require_mode(on_degenerate)
    if count not in (n - 1, n) or n < 1:
        raise ValueError(f"a: expected [..., n, n - 1] for SO(n) or [..., n, n] for O(n), given shape {tuple(a.shape)}")
    eps = torch.finfo(a.dtype).eps
    scale = a.detach().abs().amax(-2, keepdim=True)
    a = a / torch.where(scale == 0, torch.ones_like(scale), scale)
    columns: list[Tensor] = []
    bad = torch.zeros(a.shape[:-2], dtype=torch.bool, device=a.device)
    for k in range(count):
        v = _perpendicular(a[..., k], columns)
        lost = (v.detach().square().sum(-1) <= (16 * eps) ** 2)[..., None]
        if occurs(lost):
            bad = bad | lost[..., 0]
            v = torch.where(lost, _perpendicular(_completion(columns, v), columns), v)
        columns.append(v / v.norm(dim=-1, keepdim=True))
    if count == n - 1:
        columns.append(_last_column(columns) if n > 1 else a.new_ones(*a.shape[:-2], 1))
    out = torch.stack(columns, -1)
    if occurs(bad):
        if on_degenerate == "raise":
            raise_degenerate(bad, "columns that are zero or linearly dependent")
        out = torch.where(bad[..., None, None], out.detach(), out)
    return out


def to_columns(
    matrix: Float[Tensor, "*batch n n"], *, special: bool = True, project: bool = False
) -> Float[Tensor, "*batch n m"]:
    """The first n - 1 columns of a rotation; with `special=False` all n columns of an orthogonal matrix.

    Raises ValueError for a matrix that is not a rotation (orthogonal) unless `project` (rotations only).
    """
    matrix = rotations(matrix, project=project and special, special=special)
    return matrix[..., :-1] if special else matrix
