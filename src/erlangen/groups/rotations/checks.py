"""What every conversion refuses: wrong sizes, matrices that are not rotations, and rows without a direction."""

from typing import Literal

import torch
from torch import Tensor

Degenerate = Literal["complete", "raise"]


def require_last(x: Tensor, size: int, what: str) -> None:
    """Raise ValueError unless the last axis of a floating-point `x` has this size."""
    if x.ndim == 0 or x.shape[-1] != size or not x.is_floating_point():
        raise ValueError(f"{what}: expected floating-point numbers [..., {size}], given {x.dtype} {tuple(x.shape)}")


def require_square(matrix: Tensor, what: str = "matrix", n: int | None = None) -> None:
    """Raise ValueError unless `matrix` is floating point and square (of size `n`)."""
    square = matrix.ndim >= 2 and matrix.shape[-1] == matrix.shape[-2]
    if not square or (n is not None and matrix.shape[-1] != n) or not matrix.is_floating_point():
        size = f"{n}, {n}" if n is not None else "n, n"
        raise ValueError(
            f"{what}: expected floating-point matrices [..., {size}], given {matrix.dtype} {tuple(matrix.shape)}"
        )


def require_mode(on_degenerate: str) -> None:
    if on_degenerate not in ("complete", "raise"):
        raise ValueError(f"on_degenerate: got {on_degenerate!r}; allowed are 'complete', 'raise'")


def raise_degenerate(bad: Tensor, what: str) -> None:
    """The error for rows that determine no rotation, naming the first of them."""
    rows = [tuple(index) for index in bad.nonzero()[:5].tolist()]
    named = ", ".join(str(row[0]) if len(row) == 1 else str(row) for row in rows) or "the only one"
    raise ValueError(f"x: {what} in rows {named}{', ...' if int(bad.sum()) > 5 else ''}")


def rotations(matrix: Tensor, *, project: bool, n: int | None = None, special: bool = True) -> Tensor:
    """The matrices as they are if they are rotations to 1e-6 (1e-3 in float32), the nearest ones if `project`.

    Raises ValueError for the first one that is not; NaN passes.
    """
    require_square(matrix, n=n)
    if project:
        from erlangen.groups.rotations.procrustes import project as nearest

        return nearest(matrix)
    with torch.no_grad():
        eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        wrong = (matrix.mT @ matrix - eye).abs().amax((-2, -1)) > (1e-6 if matrix.dtype == torch.float64 else 1e-3)
        if special:
            wrong = wrong | (torch.linalg.det(matrix) < 0)
        if bool(wrong.any()):
            index = wrong.nonzero()[0].tolist()
            kind = "rotations" if special else "orthogonal"
            raise ValueError(f"matrix: entry {index or ''} is not {kind}; pass project=True for the nearest")
    return matrix
