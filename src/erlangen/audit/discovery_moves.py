"""Moving data by random group elements so that only the motion, and not its side effects, can be seen."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from erlangen.groups import parse
from erlangen.groups.actions import from_type
from erlangen.groups.base import FiniteGroup, Group
from erlangen.groups.elements import map_elem

SHIFT = 0.1  # translations, in sides of the image
SCALE = 0.25  # scalings and other stretches, as the spread of the logarithm


class Mover:
    """Random elements of one group on one kind of data.

    `rest(x)` and `moved(x, g)` differ by the element alone: for images both are resampled once, by a random shift of
    less than a pixel, and both keep the same disc, unless the group maps pixels to pixels.
    """

    def __init__(self, group: str | Group, kind: Any, x: Tensor, *, output: Any = "invariant") -> None:
        self.group = parse(group)
        if hasattr(self.group, "infer_size") and x.ndim >= 3:
            self.group = self.group.infer_size(x.shape[-2])
        if self.group.order == 1:
            raise ValueError(f"groups: {self.group} has one element and moves nothing")
        self.kind = kind
        self.action = from_type(kind, self.group)
        if self.action.is_trivial:
            raise ValueError(f"groups: {self.group} moves nothing of type {kind!r}")
        self.is_image = kind == "image"
        self.output_is_trivial = output == "invariant"
        self.output = from_type(output, self.group)
        self.exact = not self.is_image or _maps_pixels(self.group)
        self.radius: float | None = None
        if self.is_image:
            moves = self.group.point_translation(self.group.identity(dtype=torch.float64)) is not None
            self.radius = SHIFT * min(x.shape[-2:]) if moves else SCALE

    def draw(self, count: int, generator: torch.Generator) -> Any:
        """Elements other than the identity."""
        if isinstance(self.group, FiniteGroup) and self.group.order <= self.group.max_enumeration:
            return self.group.element(1 + torch.randint(self.group.order - 1, (count,), generator=generator))
        return self.group.sample(count, generator=generator, dtype=torch.float32, radius=self.radius)

    def planted(self, count: int, generator: torch.Generator) -> Any:
        """Elements of the whole group, the identity among them."""
        return self.group.sample(count, generator=generator, dtype=torch.float32, radius=self.radius)

    def moved(self, x: Tensor, g: Any, generator: torch.Generator) -> Tensor:
        """g · x, element by element."""
        if not self.is_image or self.exact:
            return self.action(g, x)  # type: ignore[no-any-return]
        matrix = self.group.plane_matrix(g, torch.float32)
        shift = self.group.point_translation(g, torch.float32)
        jitter = torch.rand(len(x), 2, generator=generator) - 0.5
        return _warp(x, matrix, jitter if shift is None else shift + jitter)

    def rest(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """x with the side effects of moving but without the motion."""
        if self.exact:
            return x
        eye = torch.eye(2).expand(len(x), 2, 2)
        return _warp(x, eye, torch.rand(len(x), 2, generator=generator) - 0.5)

    def target(self, y: Tensor, g: Any) -> Tensor:
        """What the target of g · x has to be."""
        if self.output_is_trivial:
            return y
        return self.output(g, y.unflatten(-1, (-1, self._output_dim(y)))).flatten(1)  # type: ignore[no-any-return]

    def _output_dim(self, y: Tensor) -> int:
        rep = getattr(self.output, "rep", None)
        dim = rep.dim if rep is not None else self.group.point_dim
        if dim is None or y.shape[-1] % dim:
            raise ValueError(
                f"output: targets of size {y.shape[-1]} are no multiple of {dim}, what {self.group} acts on"
            )
        return int(dim)

    def labels(self, g: Any, limit: int = 16) -> list[str]:
        """The elements in words, where there are few."""
        if not isinstance(self.group, FiniteGroup) or self.group.order > limit:
            return []
        return [self.group.label(map_elem(lambda e, i=i: e[i], g)) for i in range(self.group.batch_shape(g)[0])]


def canvas(x: Tensor) -> Tensor:
    """Images on a wider canvas where they lie on a plain background, so that turning cuts nothing off."""
    border = torch.cat([x[..., 0, :], x[..., -1, :], x[..., :, 0], x[..., :, -1]], -1)
    low, high = float(x.min()), float(x.max())
    level = float(border.median())
    if level - low > 0.05 * (high - low):
        return x
    pad = -(-min(x.shape[-2:]) // 5)
    return F.pad(x, (pad, pad, pad, pad), value=low)


def _maps_pixels(group: Group) -> bool:
    if not isinstance(group, FiniteGroup) or group.order > 16:
        return False
    m = group.plane_matrix(group.elements(), torch.float64)
    return bool((m - m.round()).abs().max() < 1e-9)


def _warp(x: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
    """Images moved by p -> A p + t (pixels, x to the right and y up, from the centre), inside the inscribed disc."""
    height, width = x.shape[-2:]
    across = torch.arange(width) - (width - 1) / 2
    up = (height - 1) / 2 - torch.arange(height)
    target = torch.stack(torch.broadcast_tensors(across[None, :], up[:, None]), -1)
    back = torch.linalg.inv(matrix)
    source = (target - shift[:, None, None]) @ back[:, None].mT
    grid = torch.stack([source[..., 0] * 2 / width, -source[..., 1] * 2 / height], -1)
    moved = F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
    radius = min(height, width) / 2
    return moved * (radius + 0.5 - target.norm(dim=-1)).clamp(0, 1)
