"""Matrices on the last axis: representations, points, vectors, rotations."""

from typing import Any

from torch import Tensor

from erlangen.groups.actions.base import Action, lead_shape, require_float
from erlangen.groups.base import Group


def apply_rows(matrix: Tensor, x: Tensor, what: str) -> Tensor:
    """`x @ matrix.mT` for rows `x` `[..., n]` and matrices `[*B, m, n]` whose batch lines up with the front of `x`."""
    require_float(x, what)
    if x.ndim == 0 or x.shape[-1] != matrix.shape[-1]:
        size = f"size {x.shape[-1]}" if x.ndim else "none, being a scalar"
        raise ValueError(f"x: {what} needs a last axis of size {matrix.shape[-1]}, given {size}")
    matrix = matrix.to(device=x.device, dtype=x.dtype)
    batch = tuple(matrix.shape[:-2])
    if x.ndim - len(batch) >= 2:
        lead = lead_shape(batch, x, 2, what)
        return x @ matrix.reshape(*lead, *matrix.shape[-2:]).mT
    lead = lead_shape(batch, x, 1, what)
    return (matrix.reshape(*lead, *matrix.shape[-2:]) @ x[..., None])[..., 0]


class Linear(Action):
    """A representation on one axis, by default the last."""

    def __init__(self, rep: Any, axis: int = -1) -> None:
        if axis >= 0:
            raise ValueError(f"axis: counts from the end and is negative, given {axis}")
        self.rep = rep
        self.axis = axis
        self.group = rep.group
        self.is_trivial = bool(getattr(rep, "is_trivial", False))

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        moved = x.movedim(self.axis, -1)
        return apply_rows(self.rep.matrix(g, x.dtype), moved, repr(self)).movedim(-1, self.axis)

    def __repr__(self) -> str:
        return f"Linear({self.rep})" if self.axis == -1 else f"Linear({self.rep}, axis={self.axis})"


class Vectors(Action):
    """The linear part of a group on vectors `[..., n]`: x -> x R^T. Translations leave vectors alone."""

    def __init__(self, group: Group) -> None:
        _require_points(group)
        self.group: Group = group
        self.is_trivial = group.name.startswith("T(")

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        if self.is_trivial:
            return x
        return apply_rows(self.group.point_matrix(g, x.shape[-1], x.dtype), x, repr(self))


class Points(Action):
    """A group on points `[..., N, n]`: x -> x R^T + t."""

    def __init__(self, group: Group) -> None:
        _require_points(group)
        self.group: Group = group

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        require_float(x, repr(self))
        moved = apply_rows(self.group.point_matrix(g, x.shape[-1], x.dtype), x, repr(self))
        shift = self.group.point_translation(g, x.dtype)
        if shift is None:
            return moved
        batch = tuple(shift.shape[:-1])
        return moved + shift.to(x.device).reshape(*lead_shape(batch, x, 1, repr(self)), shift.shape[-1])


class LeftMul(Action):
    """Rotations as data: a matrix `[..., n, n]` goes to R x."""

    def __init__(self, group: Group) -> None:
        _require_points(group)
        self.group: Group = group
        self.is_trivial = group.name.startswith("T(")

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        if self.is_trivial:
            return x
        return apply_rows(self.group.point_matrix(g, x.shape[-1], x.dtype), x.mT, repr(self)).mT


def _require_points(group: Group) -> None:
    if not group.acts_on_points:
        raise ValueError(f"group: {group} does not act on points; C_n, D_n, SO, O, SE, E, T and Scaling do")
