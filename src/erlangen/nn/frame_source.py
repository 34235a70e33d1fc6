"""Which part of a model's arguments a frame is read from: the points, the rows, the adjacency, the mask."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.actions import Graph, Linear, OnProduct, PerLeaf, Permute, Points, Vectors
from erlangen.groups.actions.base import Action, Compose
from erlangen.groups.actions.image import Image
from erlangen.groups.actions.linear import LeftMul
from erlangen.groups.actions.permute import Sequence
from erlangen.groups.actions.sphere import Sphere
from erlangen.groups.symmetry import Symmetry


@dataclass(frozen=True)
class Leaf:
    """One argument (or one entry of a list or dict) with its type and its action."""

    kind: Any
    action: Action
    value: Any

    def under(self, factor: int | None) -> Action | None:
        """The action of one factor of a product (of the whole group where None)."""
        if factor is None or not isinstance(self.action, OnProduct):
            return self.action
        return self.action.actions.get(factor)


def leaves(symmetry: Symmetry, args: tuple[Any, ...]) -> list[Leaf]:
    """The arguments, flattened along the structure of the input type."""
    value = args if symmetry.takes_many else args[0]
    return list(_walk(symmetry.input_type, symmetry.input_action, value))


def _walk(kind: Any, action: Any, value: Any) -> Iterator[Leaf]:
    if not isinstance(action, PerLeaf):
        yield Leaf(kind, action, value)
    elif isinstance(action.spec, Mapping):
        for name, inner in action.spec.items():
            yield from _walk(kind[name] if isinstance(kind, Mapping) else None, inner, value[name])
    else:
        kinds = kind if isinstance(kind, (tuple, list)) else [None] * len(action.spec)
        for sub, inner, part in zip(kinds, action.spec, value, strict=True):
            yield from _walk(sub, inner, part)


def cloud(found: list[Leaf], factor: int | None) -> tuple[Tensor, Tensor | None]:
    """The cloud `[*B, N, n]` that a frame of space is read from, and its mask: points, else vectors, else a PyG graph's.

    Raises ValueError where no argument holds points.
    """
    for wanted in (Points, Vectors):
        for leaf in found:
            if isinstance(leaf.under(factor), wanted) and isinstance(leaf.value, Tensor):
                return leaf.value, mask_of(found, leaf.value.shape[:-1])
    for leaf in found:
        if isinstance(leaf.under(factor), Graph) and getattr(leaf.value, "pos", None) is not None:
            return _dense(leaf.value.pos, leaf.value)
    raise ValueError(
        "input: a frame of space is read from arguments of type 'points' or 'vectors', and there are none; "
        "symmetrize under a finite group instead, or give the frame"
    )


def rows(found: list[Leaf], factor: int | None) -> tuple[Tensor | None, Tensor | None, bool]:
    """All rows side by side `[*B, N, C]` (None without any), their mask, and whether they are all that S_n moves."""
    parts: list[Tensor] = []
    complete = True
    for leaf in found:
        action = leaf.under(factor)
        if action is None or action.is_trivial:
            continue
        fits = isinstance(action, Permute) and action.axes == (-2,) and isinstance(leaf.value, Tensor)
        if fits and (not parts or leaf.value.shape[:-1] == parts[0].shape[:-1]):
            parts.append(leaf.value.double())
        elif leaf.kind != "mask":
            complete = False
    if not parts:
        return None, None, False
    return torch.cat(parts, -1), mask_of(found, parts[0].shape[:-1]), complete


def adjacency(found: list[Leaf], factor: int | None) -> tuple[Tensor, Tensor | None] | None:
    """The first adjacency matrix `[*B, N, N]` among the arguments, and its mask."""
    for leaf in found:
        action = leaf.under(factor)
        if isinstance(action, Permute) and set(action.axes) == {-2, -1} and isinstance(leaf.value, Tensor):
            return leaf.value, mask_of(found, leaf.value.shape[:-1])
        if isinstance(action, Graph):
            return _dense_adjacency(leaf.value), None
    return None


def mask_of(found: list[Leaf], shape: torch.Size) -> Tensor | None:
    """The argument of type 'mask' with this shape, as booleans."""
    for leaf in found:
        if leaf.kind == "mask" and isinstance(leaf.value, Tensor) and leaf.value.shape == shape:
            return leaf.value.bool()
    return None


def shared_batch(found: list[Leaf], tensors: list[Tensor]) -> int | None:
    """The size of the batch that all these tensors start with, or None where they hold one sample or cannot be stacked.

    Every argument that the group moves must have more axes than one sample of its type (an image four, points three), and
    every tensor must start with the same size. A pair of rows of integers, the form of `edge_index`, is never a batch.
    """
    for leaf in found:
        axes = _axes(leaf.action)
        if axes is None:
            return None
        if axes and not (isinstance(leaf.value, Tensor) and leaf.value.ndim > axes):
            return None
    sizes = {int(t.shape[0]) for t in tensors if t.ndim}
    pairs = any(t.ndim == 2 and t.shape[0] == 2 and not t.is_floating_point() for t in tensors)
    return sizes.pop() if len(sizes) == 1 and not pairs else None


def _axes(action: Any) -> int | None:
    """How many axes one sample has under an action; None where the action cannot move a batch with a batch of elements."""
    if getattr(action, "is_trivial", False):
        return 0
    if isinstance(action, (Compose, OnProduct)):
        parts = action.actions if isinstance(action, Compose) else action.actions.values()
        each = [_axes(part) for part in parts]
        return None if any(n is None for n in each) else max((n for n in each if n is not None), default=0)
    if isinstance(action, (Points, Vectors, LeftMul, Sequence)):
        return 2
    if isinstance(action, Permute):
        return max(-axis for axis in action.axes)
    if isinstance(action, Linear):
        return max(2, -action.axis)
    return 3 if isinstance(action, (Image, Sphere)) else None


def _dense(values: Tensor, data: Any) -> tuple[Tensor, Tensor | None]:
    if getattr(data, "batch", None) is None:
        return values, None
    from torch_geometric.utils import to_dense_batch

    dense, mask = to_dense_batch(values, data.batch)
    return dense, mask


def _dense_adjacency(data: Any) -> Tensor:
    from torch_geometric.utils import to_dense_adj

    weight = getattr(data, "edge_weight", None)
    dense = to_dense_adj(data.edge_index, getattr(data, "batch", None), weight, max_num_nodes=None)
    return dense if getattr(data, "batch", None) is not None else dense[0]
