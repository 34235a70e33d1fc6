"""Points of a sphere and similarity transforms by unconstrained numbers."""

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.groups.affine import homogeneous
from erlangen.groups.rotations.checks import Degenerate, occurs, raise_degenerate, require_mode
from erlangen.groups.rotations.columns import from_columns
from erlangen.groups.rotations.gram_schmidt import from_6d


def from_direction(
    x: Float[Tensor, "*batch n"], *, on_degenerate: Degenerate = "complete"
) -> Float[Tensor, "*batch n"]:
    """x/‖x‖: R^n -> the sphere S^(n-1), whose continuous right inverse is the inclusion.

    A zero row becomes the first coordinate axis with gradient 0, or is named in a ValueError
    (`on_degenerate="raise"`).
    """
    require_mode(on_degenerate)
    if x.ndim == 0 or not x.is_floating_point():
        raise ValueError(f"x: expected floating-point numbers [..., n], given {x.dtype} {tuple(x.shape)}")
    scale = x.detach().abs().amax(-1, keepdim=True)
    zero = scale == 0
    if occurs(zero):
        if on_degenerate == "raise":
            raise_degenerate(zero[..., 0], "vectors of length 0")
        first = torch.zeros_like(x)
        first[..., 0] = 1
        x, scale = torch.where(zero, first, x), torch.where(zero, torch.ones_like(scale), scale)
    x = x / scale
    return x / x.norm(dim=-1, keepdim=True)


def similarity_dimension(n: int) -> int:
    """n²: n² - n numbers for rotation and scale together, n for the translation."""
    return n * n


def from_similarity(
    x: Float[Tensor, "*batch dim"], n: int, *, on_degenerate: Degenerate = "complete"
) -> Float[Tensor, "*batch m m"]:
    """n² numbers -> x ↦ s R x + t of Sim(n), as homogeneous `[n + 1, n + 1]` matrices.

    The first n² - n numbers are n - 1 vectors: R their Gram-Schmidt basis, s the length of the first. Continuous, with
    the continuous right inverse `to_similarity`. Rows without a direction are treated as in `from_columns`, with s as
    it is.

    Raises ValueError for n < 2 or another number of entries.

    Source: Zhou et al., 2019, arXiv:1812.07035, section 4.3 (similarity transforms).
    """
    if n < 2 or x.ndim == 0 or x.shape[-1] != similarity_dimension(n):
        raise ValueError(f"x: Sim({n}) takes [..., {similarity_dimension(n)}] with n >= 2, given {tuple(x.shape)}")
    vectors, shift = x[..., : n * n - n], x[..., n * n - n :]
    if n == 3:
        rotation = from_6d(vectors, on_degenerate=on_degenerate)
    else:
        rotation = from_columns(vectors.unflatten(-1, (n - 1, n)).mT, on_degenerate=on_degenerate)
    scale = torch.linalg.vector_norm(vectors[..., :n], dim=-1)
    return homogeneous(scale[..., None, None] * rotation, shift)


def to_similarity(matrix: Float[Tensor, "*batch m m"]) -> Float[Tensor, "*batch dim"]:
    """Homogeneous matrices [[s R, t], [0, 1]] -> n² numbers: the first n - 1 columns of s R, then t.

    Raises ValueError for matrices that are not similarity transforms with s > 0.
    """
    n = matrix.shape[-1] - 1
    if matrix.ndim < 2 or matrix.shape[-2] != n + 1 or n < 2:
        raise ValueError(f"matrix: expected [..., n + 1, n + 1] with n >= 2, given shape {tuple(matrix.shape)}")
    linear = matrix[..., :n, :n]
    with torch.no_grad():
        square = linear.square().sum((-2, -1)) / n
        eye = torch.eye(n, dtype=matrix.dtype, device=matrix.device)
        tolerance = 1e-6 if matrix.dtype == torch.float64 else 1e-3
        off = (linear.mT @ linear - square[..., None, None] * eye).abs().amax((-2, -1)) > tolerance * square
        last = torch.zeros(n + 1, dtype=matrix.dtype, device=matrix.device)
        last[n] = 1
        wrong = off | (square <= 0) | (torch.linalg.det(linear) < 0) | (matrix[..., n, :] != last).any(-1)
        if bool(wrong.any()):
            index = wrong.nonzero()[0].tolist()
            raise ValueError(f"matrix: entry {index or ''} is not a similarity transform [[s R, t], [0, 1]] with s > 0")
    return torch.cat([linear[..., : n - 1].mT.flatten(-2), matrix[..., :n, n]], -1)
