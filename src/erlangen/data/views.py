"""Two views of a sample that differ by a known element of a group."""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from erlangen.groups import parse
from erlangen.groups.actions import Image
from erlangen.groups.base import Group


class Views:
    """`(x, generator) -> (x1, x2, g)`: x1 shows the sample, x2 shows g . x, each with photometric noise of its own.

    g is drawn from the group, one element a sample, and acts from the left on images about their centre. The result
    depends on x and the generator's state alone.

    Arguments:
        group: a group of the plane or its name: C8, D4, SO(2), O(2), SE(2), ...
        photometric: whether gain, offset and pixel noise differ between the views.
        padding: what turns in from outside: "zeros"; "reflect", the image mirrored at its border; or "disc", where both
            views keep the inscribed disc only, so that the border says nothing about g.
        mode: the interpolation where pixels do not go to pixels.
        gain, offset, noise: standard deviations of log gain, offset and pixel noise, for values in [0, 1].
        radius: how far to draw in a group that is not compact (shifts in pixels).

    Raises:
        ValueError: the group does not act on images.
    """

    def __init__(
        self,
        group: str | Group = "SO(2)",
        *,
        photometric: bool = True,
        padding: Literal["zeros", "reflect", "disc"] = "zeros",
        mode: Literal["bilinear", "bicubic"] = "bilinear",
        gain: float = 0.2,
        offset: float = 0.1,
        noise: float = 0.05,
        radius: float | None = None,
    ) -> None:
        if padding not in ("zeros", "reflect", "disc"):
            raise ValueError(f"padding: {padding!r}; allowed: 'zeros', 'reflect', 'disc'")
        if min(gain, offset, noise) < 0:
            raise ValueError(f"gain, offset, noise: {gain}, {offset}, {noise}; none may be negative")
        self.group = parse(group)
        self.action = Image(self.group, mode=mode)
        self.photometric, self.padding, self.radius = photometric, padding, radius
        self.gain, self.offset, self.noise = gain, offset, noise

    def __call__(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Any]:
        if x.ndim != 4:
            raise ValueError(f"x: shape {tuple(x.shape)}; views need images [batch, channels, height, width]")
        g = self.group.sample((len(x),), generator=generator, radius=self.radius)
        first, second = x, self._act(g, x)
        if self.padding == "disc":
            disc = _disc(x)
            first, second = first * disc, second * disc
        if self.photometric:
            first, second = self._disturb(first, generator), self._disturb(second, generator)
        return first, second, g

    def _act(self, g: Any, x: Tensor) -> Tensor:
        if self.padding != "reflect":
            return self.action(g, x)
        height, width = x.shape[-2:]
        border = min(math.ceil((math.sqrt(2) - 1) / 2 * max(height, width)) + 1, min(height, width) - 1)
        moved = self.action(g, F.pad(x, (border,) * 4, mode="reflect"))
        return moved[..., border : border + height, border : border + width]

    def _disturb(self, x: Tensor, generator: torch.Generator) -> Tensor:
        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, device=generator.device).to(x)

        n = len(x)
        out = x * (self.gain * normal(n, 1, 1, 1)).exp() + self.offset * normal(n, 1, 1, 1)
        return out + self.noise * normal(*x.shape)

    def __repr__(self) -> str:
        return (
            f"Views({str(self.group)!r}, photometric={self.photometric}, padding={self.padding!r}, "
            f"mode={self.action.mode!r}, gain={self.gain:g}, offset={self.offset:g}, noise={self.noise:g}, "
            f"radius={self.radius})"
        )


def _disc(x: Tensor) -> Tensor:
    """1 inside the disc inscribed in the image, 0 outside."""
    height, width = x.shape[-2:]
    row = torch.arange(height, device=x.device) - (height - 1) / 2
    column = torch.arange(width, device=x.device) - (width - 1) / 2
    radius = (min(height, width) - 1) / 2
    return (row[:, None].square() + column.square() <= radius**2).to(x.dtype)
