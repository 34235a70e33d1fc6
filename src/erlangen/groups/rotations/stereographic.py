"""The 5-D representation of rotations of space, and its n²-2n+2 numbers for SO(n): stereographic projections."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.groups.rotations.checks import Degenerate, occurs, raise_degenerate, require_last, require_mode, rotations
from erlangen.groups.rotations.columns import from_columns
from erlangen.groups.rotations.gram_schmidt import from_6d


def stereographic_dimension(n: int) -> int:
    """n² - 2n + 2: 5 for SO(3)."""
    return n * n - 2 * n + 2


def _scales(n: int, like: Tensor) -> Tensor:
    """The largest size each projected number can have, `[n - 2, n]`: √2 at the entry that shares its row with c1's."""
    scales = torch.full((n - 2, n), math.sqrt(2) + 1, dtype=like.dtype, device=like.device)
    index = torch.arange(n - 2)
    scales[index, index + 2] = math.sqrt(2)
    return scales


def to_stereographic(matrix: Float[Tensor, "*batch n n"], *, project: bool = False) -> Float[Tensor, "*batch dim"]:
    """SO(n), n >= 3, in n² - 2n + 2 numbers, all in [-1, 1]; continuous.

    Of the first n - 1 columns, every one but c1 is taken together with one entry of c1: w = (c1[j+1], c_j)/‖·‖ is a
    point of the sphere S^n, never nearer to the pole e_1 than 1/√2 allows, and its stereographic projection
    s = w[1:]/(1 - w[0]) has one number less. What is left of c1 (two entries) comes first. n = 3 is the paper's 5-D.

    Raises ValueError for n < 3, and for a matrix that is not a rotation unless `project`.

    Source: Zhou et al., 2019, arXiv:1812.07035, section 4.2 (there n = 3 in detail; for larger n the entries that are
    joined are our choice, one of the first column for each later one, so that no projection meets its pole).
    """
    matrix = rotations(matrix, project=project)
    n = matrix.shape[-1]
    if n < 3:
        raise ValueError(f"matrix: stereographic projection needs n >= 3, given {n}")
    first, rest = matrix[..., 0], matrix[..., 1 : n - 1].mT  # [*batch, n - 2, n]
    # w / ‖w‖ with ‖w‖ = sqrt(1 + t²): s = c / (sqrt(1 + t²) - t) = c (sqrt(1 + t²) + t)
    t = first[..., 2:, None]
    projected = rest * ((1 + t.square()).sqrt() + t) / _scales(n, matrix)
    return torch.cat([first[..., :2], projected.flatten(-2)], -1)


def from_stereographic(
    x: Float[Tensor, "*batch dim"], n: int, *, on_degenerate: Degenerate = "complete"
) -> Float[Tensor, "*batch n n"]:
    """n² - 2n + 2 numbers -> SO(n): the projections are undone, then Gram-Schmidt.

        w = ((‖s‖² - 1), 2 s)/(‖s‖² + 1),    divided by ‖w[1:]‖, so that the column has length 1

    A projected column s = 0 is the pole opposite to every rotation's; it and dependent columns are treated as in
    `from_6d`: completed with gradient 0, or named in a ValueError with `on_degenerate="raise"`.

    Raises ValueError for n < 3 or another number of entries.
    """
    if n < 3:
        raise ValueError(f"n: stereographic projection needs n >= 3, given {n}")
    require_last(x, stereographic_dimension(n), "x")
    require_mode(on_degenerate)
    s = x[..., 2:].unflatten(-1, (n - 2, n)) * _scales(n, x)
    square = s.square().sum(-1, keepdim=True)
    pole = square == 0
    if occurs(pole):
        if on_degenerate == "raise":
            raise_degenerate(pole.flatten(-2).any(-1), "a projected column that is 0")
        start = torch.zeros_like(s)
        start[..., 1] = 1
        s, square = torch.where(pole, start, s), torch.where(pole, torch.ones_like(square), square)
    length = square.sqrt()
    joined = (square - 1) / (2 * length)  # w[0] / ‖w[1:]‖
    first = torch.cat([x[..., :2], joined[..., 0]], -1)
    columns = torch.cat([first[..., None], (s / length).mT], -1)
    if n == 3:
        out = from_6d(columns.mT.flatten(-2), on_degenerate=on_degenerate)
    else:
        out = from_columns(columns, on_degenerate=on_degenerate)
    if occurs(pole):
        out = torch.where(pole.flatten(-2).any(-1)[..., None, None], out.detach(), out)
    return out


def to_5d(matrix: Float[Tensor, "*batch 3 3"], *, project: bool = False) -> Float[Tensor, "*batch 5"]:
    """Rotations of space in five numbers, the fewest for which a continuous representation exists.

    (M11, M21, s / (√2 + 1, √2 + 1, √2)) with s the stereographic projection of (M31, c2)/‖·‖ from the first axis.

    Raises ValueError for a matrix that is not a rotation unless `project`.

    Source: Zhou et al., 2019, arXiv:1812.07035.
    """
    return to_stereographic(rotations(matrix, project=project, n=3))


def from_5d(x: Float[Tensor, "*batch 5"], *, on_degenerate: Degenerate = "complete") -> Float[Tensor, "*batch 3 3"]:
    """Five numbers -> rotation of space: `from_stereographic(x, 3)`."""
    return from_stereographic(x, 3, on_degenerate=on_degenerate)
