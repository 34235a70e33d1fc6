"""Which group elements a check tries, and under which part of the group each is counted."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import Any

import torch

from erlangen.groups.symmetry import Symmetry
from erlangen.testing import leaves
from erlangen.testing.runner import CheckError, first_line

LARGEST_NAMED = 1000  # numbers in an element; beyond it a distance costs n x n and a label helps nobody
ENUMERATED = 64  # finite groups up to this order are tried whole


@dataclass(frozen=True, eq=False)
class Draw:
    """One group element in float64, the part of the group it was drawn from, and its distance from the identity."""

    g: Any
    part: str
    distance: float
    label: str


def part_names(group: Any) -> list[str]:
    """The parts of the group that a breakdown names; empty where the group has none."""
    with contextlib.suppress(AttributeError, NotImplementedError):
        return list(group.parts())
    return []


def draw_elements(
    symmetry: Symmetry, generator: torch.Generator, count: int, *, radius: float | None = None
) -> list[Draw]:
    """`count` or so elements: some from every part, some from the whole group, all of a small finite group."""
    group = symmetry.group
    if symmetry.is_user_written:
        return [Draw(_drawn_by_user(group, generator), "transformations", float("nan"), "") for _ in range(count)]
    parts = group.parts() if part_names(group) else {}
    draws = []
    per_part = max(3, count // (len(parts) + 1)) if parts else 0
    for name, sampler in parts.items():
        for _ in range(per_part):
            g = sampler((), generator=generator, dtype=torch.float64, radius=radius)
            draws.append(_describe(group, g, name))
    order = getattr(group, "order", None)
    if order is not None and order <= ENUMERATED and order <= 2 * count:
        elements = group.elements()
        draws += [_describe(group, _item(elements, i), "whole group") for i in range(order)]
    elif len(parts) != 1 or not parts:
        for _ in range(max(2, count // 3)):
            g = group.sample((), generator=generator, dtype=torch.float64, radius=radius)
            draws.append(_describe(group, g, "whole group"))
    else:
        g = group.sample((), generator=generator, dtype=torch.float64, radius=radius)
        draws.append(_describe(group, g, "whole group"))
    return draws


def _drawn_by_user(group: Any, generator: torch.Generator) -> Any:
    try:
        return group.sample((), generator=generator, dtype=torch.float64)
    except Exception as error:
        raise CheckError(f"sample: the given function raised {first_line(error)}") from error


def _describe(group: Any, g: Any, part: str) -> Draw:
    distance, label = float("nan"), ""
    if max((leaf.numel() for leaf in leaves.all_leaves(g)), default=0) > LARGEST_NAMED:
        return Draw(g, part, distance, label)
    with contextlib.suppress(Exception):  # a group without a distance or a label is still checked
        distance = float(group.distance(group.identity((), dtype=torch.float64), g))
    with contextlib.suppress(Exception):
        label = group.label(g)
    return Draw(g, part, distance, label)


def _item(elements: Any, i: int) -> Any:
    if isinstance(elements, tuple):
        return tuple(_item(e, i) for e in elements)
    return elements[i]


def inverse_draw(symmetry: Symmetry, draw: Draw) -> Any:
    """The inverse element, or None where the group cannot say."""
    with contextlib.suppress(Exception):
        return leaves.cast_tensors(symmetry.group.inverse(draw.g), torch.float64)
    return None


def grid_elements(group: Any) -> list[Any]:
    """Turns by a quarter and a half where the group can make them."""
    found: list[Any] = []
    if not getattr(group, "dim", 0):
        return found
    if getattr(group, "dim", 0) == 1 and hasattr(group, "exp"):
        found = [group.exp(torch.tensor([k * math.pi / 2], dtype=torch.float64)) for k in (1, 2)]
    elif getattr(group, "point_dim", None) == 2 and hasattr(group, "matrix_dim"):
        size = group.matrix_dim
        for k in (1, 2):
            g = torch.eye(size, dtype=torch.float64)
            c, s = round(math.cos(k * math.pi / 2)), round(math.sin(k * math.pi / 2))
            g[:2, :2] = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
            if bool(torch.as_tensor(group.contains(g)).all()):
                found.append(g)
    return found
