"""Apply the equivariant map of a diagram: take diagonals, sum or average, carry across, broadcast onto diagonals."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from erlangen.groups.permutations.wiring import diagrams

Mask = Bool[Tensor, "*lead n"]


def _subscript(labels: Sequence[int]) -> str:
    return "".join(chr(ord("a") + label) for label in labels)


def reduce_axes(x: Tensor, pattern: Sequence[int], keep: Sequence[int]) -> Tensor:
    """`y[..., keep] = Σ over the labels not kept of x[..., pattern]`: diagonals where a label repeats, then sums."""
    if len(pattern) == 0:
        return x
    return torch.einsum(f"...{_subscript(pattern)}->...{_subscript(keep)}", x)


def place_axes(y: Tensor, labels: Sequence[int], pattern: Sequence[int]) -> Tensor:
    """Put the axes `labels` of y (distinct, all of those in `pattern`) onto `pattern`: zero off its diagonals."""
    axes = list(labels)
    for label in dict.fromkeys(pattern):
        for _ in range(list(pattern).count(label) - 1):
            place = axes.index(label)
            y = torch.diag_embed(y.movedim(place - len(axes), -1))
            axes = [*axes[:place], *axes[place + 1 :], label, label]
    lead = y.ndim - len(axes)
    order = []
    for label in pattern:
        place = axes.index(label)
        axes[place] = -1
        order.append(lead + place)
    return y.permute([*range(lead), *order])


def spread_axes(y: Tensor, labels: Sequence[int], wanted: Sequence[int]) -> Tensor:
    """Reorder the axes `labels` of y as in `wanted`, with an axis of size 1 for every label that y does not have."""
    lead = y.ndim - len(labels)
    present = [label for label in wanted if label in labels]
    y = y.permute([*range(lead), *(lead + list(labels).index(label) for label in present)])
    for place, label in enumerate(wanted):
        if label not in labels:
            y = y.unsqueeze(lead + place)
    return y


def mask_product(mask: Mask, lead: int, order: int, dtype: torch.dtype) -> Tensor:
    """1 where all `order` indices are real nodes: `[*lead axes, 1, ..., n, ..., n]`, to multiply `[*lead, n, ..., n]`."""
    n = mask.shape[-1]
    between = [1] * (lead - (mask.ndim - 1))
    out = torch.ones((), dtype=dtype, device=mask.device)
    for axis in range(order):
        shape = [*mask.shape[:-1], *between, *(n if other == axis else 1 for other in range(order))]
        out = out * mask.to(dtype).reshape(shape)
    return out


def node_counts(n: int, mask: Mask | None, lead: int, order: int, x: Tensor) -> Tensor:
    """How many real nodes there are, shaped to divide `[*lead, n, ...]` with `order` node axes; at least 1."""
    if mask is None:
        return torch.full((), max(n, 1), dtype=x.dtype, device=x.device)
    count = mask.sum(-1).clamp(min=1).to(x.dtype)
    return count.reshape([*mask.shape[:-1], *([1] * (lead - (mask.ndim - 1) + order))])


def check_tensor(x: Tensor, order: int, mask: Mask | None, n: int | None = None) -> int:
    """The number of nodes of a permutation tensor. Raises ValueError where the shapes do not say one number."""
    if not x.is_floating_point():
        raise TypeError(f"x: needs floating-point values, given {x.dtype}")
    if x.ndim < order:
        raise ValueError(f"x: an order-{order} tensor has at least {order} axes, given shape {tuple(x.shape)}")
    sizes = set(x.shape[x.ndim - order :]) if order else set()
    if len(sizes) > 1:
        raise ValueError(f"x: the last {order} axes must have one size, given shape {tuple(x.shape)}")
    if mask is not None:
        lead = x.ndim - order
        if mask.dtype != torch.bool:
            raise TypeError(f"mask: needs bool, given {mask.dtype}")
        if mask.ndim - 1 > lead or mask.shape[:-1] != x.shape[: mask.ndim - 1]:
            raise ValueError(f"mask: {tuple(mask.shape)} does not start like x of shape {tuple(x.shape)}")
        sizes |= {mask.shape[-1]}
    if n is not None:
        sizes |= {n}
    if len(sizes) != 1:
        told = f"sizes {sorted(sizes)}" if sizes else "no size"
        raise ValueError(f"n: x, mask and n give {told}; they must agree on one (order 0 needs mask or n)")
    return sizes.pop()


def contract(
    x: Tensor,
    pattern_in: Sequence[int],
    pattern_out: Sequence[int],
    *,
    mask: Mask | None = None,
    normalize: bool = True,
    n: int | None = None,
) -> Tensor:
    """The equivariant map (R^n)^⊗k_in -> (R^n)^⊗k_out of one wiring pattern.

        y[..., pattern_out] = (1 / n^s) Σ over the s labels of the input only of x[..., pattern_in]

    and zero where equal labels of `pattern_out` meet different indices. Labels of the output only are broadcast. For an
    adjacency matrix, `(0, 1), (0,)` is the row mean, `(0, 0), (0,)` the diagonal, `(0, 1), (2, 2)` the mean on the
    diagonal, `(0, 1), (1, 0)` the transpose.

    Args:
        x: `[*lead, n, ..., n]` with one axis for each input slot.
        mask: which of the n nodes are real, `[*first axes of lead, n]`; the others count as absent and give zeros.
        normalize: average over the real nodes instead of summing, so that one weight serves every n.
        n: the number of nodes where neither x nor mask tells it.

    Raises ValueError for axes or masks whose sizes differ, TypeError for values that are not floating point.
    """
    pattern_in, pattern_out = tuple(pattern_in), tuple(pattern_out)
    size = check_tensor(x, len(pattern_in), mask, n)
    lead = x.ndim - len(pattern_in)
    if mask is not None:
        x = x * mask_product(mask, lead, len(pattern_in), x.dtype)
    number = {label: i for i, label in enumerate(dict.fromkeys((*pattern_in, *pattern_out)))}
    inner = [number[label] for label in pattern_in]
    outer = [number[label] for label in pattern_out]
    carried = [label for label in dict.fromkeys(inner) if label in outer]
    y = reduce_axes(x, inner, carried)
    if normalize:
        y = y / node_counts(size, mask, lead, len(carried), x) ** (len(set(inner)) - len(carried))
    wanted = list(dict.fromkeys(outer))
    y = spread_axes(y, carried, wanted).expand([*x.shape[:lead], *[size] * len(wanted)])
    y = place_axes(y, wanted, outer)
    return y if mask is None else y * mask_product(mask, lead, len(outer), x.dtype)


def perm_basis_apply(
    x: Tensor,
    k_in: int,
    k_out: int,
    *,
    mask: Mask | None = None,
    normalize: bool = True,
    n: int | None = None,
) -> Tensor:
    """All Bell(k_in + k_out) diagram maps at once: `[*lead, n^k_in axes] -> [*lead, diagrams, n^k_out axes]`.

    The order is that of `diagrams(k_in, k_out)`. A linear layer should not build this tensor: `EquivariantLinear` mixes
    channels before it broadcasts. See `contract` for the arguments and the errors.
    """
    lead = x.ndim - k_in
    each = [
        contract(x, d.pattern_in, d.pattern_out, mask=mask, normalize=normalize, n=n) for d in diagrams(k_in, k_out)
    ]
    return torch.stack(each, lead)
