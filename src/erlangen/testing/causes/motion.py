"""What a transformation does to the numbers of an input: shift a grid, turn it, permute rows, rotate vectors, scale."""

from __future__ import annotations

import contextlib
from typing import Any, Literal

import torch
from torch import Tensor

from erlangen.testing import leaves
from erlangen.testing.elements import Draw
from erlangen.testing.measure import move_input
from erlangen.testing.session import Session

Motion = Literal["shift", "turn", "permutation", "rotation", "reflection", "translation", "scale", "still", "other"]
LARGEST_VECTOR = 8


BY_PART: dict[str, Motion] = {
    "rotations": "rotation",
    "reflections": "reflection",
    "translations": "translation",
    "permutations": "permutation",
    "scale": "scale",
    "scalings": "scale",
}


def motion_of(session: Session, draw: Draw) -> Motion:
    """The motion of the first argument that the element moves; by the name of its part where numbers do not tell."""
    if draw.part == "permutations":  # some permutations are cyclic, which would look like a shift
        return "permutation"
    found = _seen(session, draw.g)
    if session.symmetry.input_type == "image" and found in ("rotation", "reflection", "other"):  # a small image
        return "turn"
    return BY_PART.get(draw.part, found) if found == "other" else found


def _seen(session: Session, g: Any) -> Motion:
    probe = _probe(session.args)
    try:
        moved = move_input(session.symmetry, g, probe, torch.float64)
    except Exception:  # an action that takes no made-up numbers
        return "other"
    for before, after in zip(leaves.all_leaves(probe), leaves.all_leaves(moved), strict=False):
        if leaves.is_plain(before) and leaves.is_plain(after) and not torch.equal(before, after):
            return _kind(before, after)
    changed = not leaves.same(probe, moved)
    return "permutation" if changed else "still"


def _probe(args: tuple[Any, ...]) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(5)

    def one(leaf: Tensor) -> Tensor:
        return torch.randn(leaf.shape, generator=generator, dtype=torch.float64) if leaves.is_plain(leaf) else leaf

    return leaves.map_leaves(one, leaves.cast(args, torch.float64))  # type: ignore[no-any-return]


def _kind(x: Tensor, y: Tensor) -> Motion:
    if x.shape == y.shape and torch.equal(x.reshape(-1).sort().values, y.reshape(-1).sort().values):
        return _rearrangement(x, y)
    if x.dim() >= 3 and x.shape == y.shape and min(x.shape[-2:]) > LARGEST_VECTOR:
        return "turn"  # resampled
    with contextlib.suppress(Exception):
        return _affine(x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1]))
    return "other"


def _rearrangement(x: Tensor, y: Tensor) -> Motion:
    if _is_roll(x, y):
        return "shift"
    if x.dim() >= 2 and x.shape[-1] > LARGEST_VECTOR // 2:
        turns = [torch.rot90(x, k, (-2, -1)) for k in range(4)]
        flips = [t.flip(-1) for t in turns]
        if any(t.shape == y.shape and torch.equal(t, y) for t in [*turns, *flips]):
            return "turn"
    if x.dim() and x.shape[-1] <= LARGEST_VECTOR:  # a quarter turn of vectors rearranges them as well
        with contextlib.suppress(Exception):
            found = _affine(x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1]))
            if found != "other":
                return found
    return "permutation"


def _is_roll(x: Tensor, y: Tensor) -> bool:
    corner = x[tuple([0] * x.dim())]
    place = (y == corner).nonzero()
    if len(place) != 1:
        return False
    shifts = place[0].tolist()
    return any(shifts) and torch.equal(torch.roll(x, shifts, list(range(x.dim()))), y)


def _affine(x: Tensor, y: Tensor) -> Motion:
    """The linear map on the last axis, where there is one for all rows."""
    d = x.shape[-1]
    if d > LARGEST_VECTOR or len(x) < 2:
        return "other"
    ones = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], -1)
    columns = ones if len(x) > d else x
    solution = torch.linalg.lstsq(columns, y, driver="gelsd").solution
    if float((columns @ solution - y).norm()) > 1e-8 * float(y.norm()):
        return "other"
    matrix = solution[:d]
    eye = torch.eye(d, dtype=x.dtype)
    if torch.allclose(matrix, eye, atol=1e-8):
        return "translation"
    if torch.allclose(matrix, matrix[0, 0] * eye, atol=1e-8) and float(matrix[0, 0]) > 0:
        return "scale"
    if len(x) <= d or torch.allclose(matrix @ matrix.mT, eye, atol=1e-8):
        return "reflection" if float(torch.linalg.det(matrix)) < 0 else "rotation"
    return "other"
