"""What every conversion refuses: wrong sizes, matrices that are not rotations, and rows without a direction."""

from typing import Literal

import torch
from torch import Tensor

from erlangen.groups.rotations.planes import cross, dot, in_blocks, to_planes

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


def occurs(mask: Tensor) -> bool:
    """Whether any entry is set; under `torch.vmap`, where nobody can ask, True, so that the careful branch is taken."""
    try:
        return bool(mask.any())
    except RuntimeError:
        return True


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
        if matrix.shape[-1] == 3 and special:
            deviation = in_blocks(_deviation_3d, matrix.detach().reshape(-1, 9)).view(matrix.shape[:-2])
        else:
            eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
            deviation = (matrix.mT @ matrix - eye).abs().amax((-2, -1))
            if special:
                deviation = torch.maximum(deviation, 1 - torch.linalg.det(matrix))
        wrong = deviation > (1e-6 if matrix.dtype == torch.float64 else 1e-3)
        if bool(wrong.any()):
            index = wrong.nonzero()[0].tolist()
            kind = "a rotation" if special else "orthogonal"
            raise ValueError(f"matrix: entry {index or ''} is not {kind}; pass project=True for the nearest")
    return matrix


def _deviation_3d(rows: Tensor) -> Tensor:
    """The largest entry of |Mᵀ M - I|, and 1 - det M if that is larger, `[N, 9]` -> `[N]`."""
    m = to_planes(rows).view(3, 3, -1)
    a, b, c = m[:, 0], m[:, 1], m[:, 2]
    worst = 1 - dot(torch.stack(cross(a, b)), c)
    for entry in (dot(a, a) - 1, dot(b, b) - 1, dot(c, c) - 1, dot(a, b), dot(a, c), dot(b, c)):
        worst = torch.maximum(worst, entry.abs())
    return worst
