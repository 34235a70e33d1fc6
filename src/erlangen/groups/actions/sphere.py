"""Rotations of signals on the sphere."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.groups.actions.base import Action, lead_shape, require_float
from erlangen.groups.base import Group
from erlangen.groups.elements import Elem


def sphere_grid(height: int, width: int) -> Float[Tensor, "height width 3"]:
    """Directions of an equirectangular grid, float64: rows from the +y pole down, columns by azimuth from z to x."""
    polar = (torch.arange(height, dtype=torch.float64) + 0.5) * (math.pi / height)
    azimuth = torch.arange(width, dtype=torch.float64) * (2 * math.pi / width)
    sine = torch.sin(polar)[:, None]
    across, front = sine * torch.sin(azimuth), sine * torch.cos(azimuth)
    return torch.stack([across, torch.cos(polar)[:, None].expand_as(across), front], -1)


class Sphere(Action):
    """A group of R^3 on signals `[..., H, W]` on `sphere_grid(H, W)`: (g·f)(u) = f(g⁻¹u), by bilinear interpolation.

    The width has to be even, so that a step over a pole lands on the opposite meridian. Turns about y by whole columns
    are exact to rounding; everything else is second-order in the grid. Translations leave the sphere of directions
    alone.
    """

    exact = False

    def __init__(self, group: Group) -> None:
        if not group.acts_on_points or group.point_dim != 3:
            raise ValueError(f"group: {group} does not act on sphere; SO(3), O(3), SE(3), E(3) and solids' groups do")
        self.group: Group = group
        self.is_trivial = group.name.startswith("T(")

    def __call__(self, g: Elem, x: Tensor) -> Tensor:
        require_float(x, repr(self))
        if x.ndim < 2 or x.shape[-1] % 2:
            raise ValueError(f"x: a signal on the sphere is [..., H, W] with even W, given shape {tuple(x.shape)}")
        if self.is_trivial:
            return x
        height, width = x.shape[-2:]
        matrix: Any = self.group.point_matrix(g, 3, torch.float64)
        lead = lead_shape(tuple(matrix.shape[:-2]), x, 2, repr(self))
        back = torch.linalg.inv(matrix)[..., None, None, :, :]
        source = (back @ sphere_grid(height, width).to(matrix.device)[..., None])[..., 0].to(x.device)
        polar = torch.atan2(source[..., ::2].norm(dim=-1), source[..., 1])
        row = polar * (height / math.pi) - 0.5
        column = torch.atan2(source[..., 0], source[..., 2]) * (width / (2 * math.pi))
        top, left = row.floor(), column.floor()
        total = torch.zeros((), dtype=x.dtype, device=x.device)
        for i, down in ((top, 1 - (row - top)), (top + 1, row - top)):
            over_pole = (i < 0) | (i >= height)
            inner = i.clamp(0, height - 1).long()
            for j, across in ((left, 1 - (column - left)), (left + 1, column - left)):
                turned = (j.long() + over_pole * (width // 2)) % width
                place = (inner * width + turned).flatten(-2)
                weight = (down * across).to(x.dtype).reshape(*lead, height, width)
                total = total + self._pick(x, place.reshape(*lead, height * width)) * weight
        return total

    @staticmethod
    def _pick(x: Tensor, place: Tensor) -> Tensor:
        flat = x.flatten(-2)
        shape = torch.broadcast_shapes(place.shape, flat.shape)
        return torch.gather(flat.expand(shape), -1, place.expand(shape)).unflatten(-1, tuple(x.shape[-2:]))
