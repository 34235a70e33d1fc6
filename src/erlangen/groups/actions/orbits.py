"""All transforms of every sample in a batch, copies side by side."""

import torch
from jaxtyping import Int64
from torch import Tensor

from erlangen.groups.actions.base import Action
from erlangen.groups.actions.image import Image
from erlangen.groups.base import FiniteGroup, Group
from erlangen.groups.elements import map_elem
from erlangen.groups.finite import Cyclic
from erlangen.groups.names import parse


def orbit_batch(
    x: Tensor, group: str | Group, *, action: Action | None = None
) -> tuple[Tensor, Int64[Tensor, " copies"]]:
    """Every element of a finite group on every sample: `[n, ...]` -> (`[order * n, ...]`, element index of each copy).

    The copies of one sample are adjacent, in the order of `group.elements()`.

    Args:
        x: samples along the first axis.
        group: a finite group of the plane, unless `action` is given.
        action: how the group acts; `Image(group)` by default.
    """
    group = parse(group)
    if not isinstance(group, FiniteGroup):
        raise ValueError(f"group: an orbit needs a finite group such as C4 or D4, given {group}")
    act = action if action is not None else Image(group)
    count, order = x.shape[0], group.order
    copies = x.repeat_interleave(order, dim=0)
    elements = map_elem(lambda e: e.repeat(count, *([1] * (e.ndim - 1))).to(x.device), group.elements())
    return act(elements, copies), torch.arange(order, device=x.device).repeat(count)


def rot90_batch(x: Tensor) -> tuple[Tensor, Int64[Tensor, " copies"]]:
    """The four quarter turns of every image: `[n, C, H, W]` -> (`[4 n, C, H, W]`, number of turns 0..3 of each copy).

    Images have to be square; copy k of an image is `torch.rot90(image, k, (-2, -1))`.
    """
    if x.ndim < 3 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"x: quarter turns need square images [n, ..., H, H], given shape {tuple(x.shape)}")
    return orbit_batch(x, Cyclic(4))
