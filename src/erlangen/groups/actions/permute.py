"""Permutations of axes, and symmetries of sequences."""

from collections.abc import Sequence as SequenceOf
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.actions.base import Action, lead_shape, require_float
from erlangen.groups.affine import Translation
from erlangen.groups.base import Group
from erlangen.groups.finite import Cyclic, Dihedral, Symmetric


def gather_axis(x: Tensor, source: Tensor, axis: int, what: str) -> Tensor:
    """`out[..., i, ...] = x[..., source[i], ...]` along a negative axis; the batch of `source` `[*B, n]` leads `x`."""
    size = source.shape[-1]
    if x.ndim < -axis or x.shape[axis] != size:
        raise ValueError(f"x: {what} needs {size} entries along axis {axis}, given shape {tuple(x.shape)}")
    source = source.to(x.device)
    if source.ndim == 1:
        return x.index_select(x.ndim + axis, source)
    lead = lead_shape(tuple(source.shape[:-1]), x, -axis, what)
    index = source.reshape(*lead, size, *([1] * (-axis - 1)))
    shape = torch.broadcast_shapes(index.shape, x.shape)
    return torch.gather(x.expand(shape), x.ndim + axis, index.expand(shape))


class Permute(Action):
    """S_n on one or several axes at once: (g·x)[g[i]] = x[i]. An adjacency matrix has `axes=(-2, -1)`."""

    def __init__(self, group: Group, axes: SequenceOf[int] = (-2,)) -> None:
        if not isinstance(group, Symmetric):
            raise ValueError(f"group: {group} does not permute; S5 or S(n) does")
        if any(a >= 0 for a in axes):
            raise ValueError(f"axes: count from the end and are negative, given {tuple(axes)}")
        self.group: Group = group
        self.axes = tuple(axes)

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        source = torch.argsort(g, dim=-1)
        for axis in self.axes:
            x = gather_axis(x, source, axis, repr(self))
        return x

    def __repr__(self) -> str:
        return f"Permute({self.group}, axes={self.axes})"


class Sequence(Action):
    """Symmetries of a sequence `[..., T, C]` along its time axis.

    C_n rolls it by T / n places (so n has to divide T), D_n also reverses time, S_n permutes it, T(1) shifts it with
    zeros coming in (by linear interpolation where the shift is not whole).
    """

    def __init__(self, group: Group, axis: int = -2) -> None:
        known = isinstance(group, (Cyclic, Dihedral, Symmetric)) or group == Translation(1)
        if not known:
            raise ValueError(f"group: {group} does not act on sequences; C_n, D_n, S_n and T(1) do")
        if axis >= 0:
            raise ValueError(f"axis: counts from the end and is negative, given {axis}")
        self.group: Group = group
        self.axis = axis
        self.exact = not isinstance(group, Translation)

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        if isinstance(self.group, Translation):
            return self._shift(g, x)
        return gather_axis(x, self._source(g, x), self.axis, repr(self))

    def _source(self, g: Any, x: Tensor) -> Tensor:
        length = x.shape[self.axis]
        if isinstance(self.group, Symmetric):
            return torch.argsort(g, dim=-1)
        n = self.group.n if isinstance(self.group, (Cyclic, Dihedral)) else 1
        if length % n:
            raise ValueError(f"x: {self.group} acts on sequences whose length is a multiple of {n}, given {length}")
        rot, flip = g if isinstance(g, tuple) else (g, torch.zeros_like(g))
        time = torch.arange(length, device=rot.device)
        sign = (1 - 2 * flip)[..., None]
        return (sign * (time - rot[..., None] * (length // n))) % length

    def _shift(self, g: Any, x: Tensor) -> Tensor:
        require_float(x, repr(self))
        length = x.shape[self.axis]
        source = torch.arange(length, device=x.device, dtype=x.dtype) - g[..., 0, 1].to(x)[..., None]
        low = source.floor()
        total = torch.zeros((), dtype=x.dtype, device=x.device)
        for place, weight in ((low, 1 - (source - low)), (low + 1, source - low)):
            weight = weight * ((place >= 0) & (place < length))
            picked = gather_axis(x, place.clamp(0, length - 1).long(), self.axis, repr(self))
            lead = lead_shape(tuple(weight.shape[:-1]), x, -self.axis, repr(self))
            total = total + picked * weight.reshape(*lead, length, *([1] * (-self.axis - 1)))
        return total

    def valid_mask(self, g: Any, x: Tensor) -> Tensor | None:
        """bool `[*B, T, 1]` of places whose preimage lies inside, for T(1)."""
        if not isinstance(self.group, Translation):
            return None
        length = x.shape[self.axis]
        source = torch.arange(length, device=x.device) - g[..., 0, 1].to(x.device)[..., None]
        inside = (source >= -1e-6) & (source <= length - 1 + 1e-6)
        lead = lead_shape(tuple(inside.shape[:-1]), x, -self.axis, repr(self))
        return inside.reshape(*lead, length, *([1] * (-self.axis - 1)))
