"""Permute, scale, merge and slice the units of a model, in place."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from erlangen.nn.parameter_symmetry.groups import Group, Slot
from erlangen.nn.parameter_symmetry.trace import READS


def tensor_of(model: nn.Module, name: str) -> Tensor:
    """A parameter or buffer by its name."""
    module, _, own = name.rpartition(".")
    return getattr(model.get_submodule(module), own)


@torch.no_grad()
def permute_(model: nn.Module, group: Group, order: Tensor) -> None:
    """Unit `u` becomes what unit `order[u]` was."""
    if sorted(order.tolist()) != list(range(group.size)):
        raise ValueError(f"order: must hold every number below {group.size} once")
    for slot in group.slots:
        t = tensor_of(model, slot.name)
        index = slot.index.to(t.device)
        t.index_copy_(slot.axis, index.flatten(), t.index_select(slot.axis, index[order].flatten()))


@torch.no_grad()
def scale_(model: nn.Module, group: Group, factors: Tensor, which: int) -> None:
    """Multiply what writes unit `u` by `factors[u]`, divide what reads it."""
    if factors.shape != (group.size,) or not bool((factors > 0).all()) or not bool(factors.isfinite().all()):
        raise ValueError(f"factors: shape {tuple(factors.shape)}; must be {group.size} positive numbers")
    if not group.factors:
        raise ValueError(f"group: the scale of {group.name!r} cannot be moved (an activation in it is not homogeneous)")
    chosen = group.factors[which]
    for slot in (*chosen.writes, *chosen.reads):
        t = tensor_of(model, slot.name)
        _multiply(t, slot, factors.double() if slot.role != READS else 1 / factors.double())


def _multiply(t: Tensor, slot: Slot, by: Tensor) -> None:
    line = torch.ones(t.shape[slot.axis], dtype=torch.float64)
    line[slot.index.flatten()] = by.cpu().repeat_interleave(slot.index.shape[1])
    shape = [-1 if d == slot.axis else 1 for d in range(t.dim())]
    t.mul_(line.to(t).view(shape))


@torch.no_grad()
def gather_clusters_(model: nn.Module, group: Group, cluster: Tensor) -> Tensor:
    """Average what writes the units of a cluster and sum what reads them, at its first unit; returns the first units.

    Exact for units that compute the same, whatever their activation.
    """
    if group.not_mergeable:
        raise ValueError(f"group: {group.name!r} cannot be merged: {group.not_mergeable}")
    if cluster.shape != (group.size,):
        raise ValueError(f"clusters: shape {tuple(cluster.shape)} for {group.name!r}; must be ({group.size},)")
    _, number = cluster.unique(return_inverse=True)
    count = torch.bincount(number)
    first = torch.full((len(count),), group.size).scatter_reduce(0, number, torch.arange(group.size), "amin")
    for slot in group.slots:
        t = tensor_of(model, slot.name)
        rows = t.movedim(slot.axis, 0)
        index = slot.index.to(t.device)
        held = rows[index.flatten()].double().unflatten(0, index.shape)
        total = torch.zeros(len(count), *held.shape[1:], dtype=torch.float64, device=t.device)
        total.index_add_(0, number.to(t.device), held)
        if slot.role != READS:
            total /= count.to(t.device).view(-1, *[1] * (held.dim() - 1))
        rows[index[first].flatten()] = total.flatten(0, 1).to(t)
    return first.sort().values


@torch.no_grad()
def slice_(model: nn.Module, keep: Mapping[str, Tensor], groups: Mapping[str, Group]) -> None:
    """Take all units out but those kept; modules learn their new sizes."""
    gone: dict[tuple[str, int], list[Tensor]] = {}
    for name, kept in keep.items():
        group = groups[name]
        if group.not_sliceable:
            raise ValueError(f"group: {name!r} cannot be sliced: {group.not_sliceable}")
        if not len(kept) or len(kept.unique()) != len(kept) or kept.min() < 0 or kept.max() >= group.size:
            raise ValueError(f"keep: must be different numbers below {group.size} for {name!r}, at least one")
        out = torch.ones(group.size, dtype=torch.bool)
        out[kept] = False
        for slot in group.slots:
            gone.setdefault((slot.name, slot.axis), []).append(slot.index[out].flatten())
    for (name, axis), lost in gone.items():
        t = tensor_of(model, name)
        stays = torch.ones(t.shape[axis], dtype=torch.bool)
        stays[torch.cat(lost)] = False
        t.data = t.data.index_select(axis, stays.nonzero().squeeze(1).to(t.device)).contiguous()
        if t.grad is not None:
            t.grad = None
    for module in model.modules():
        _resize(module)


def _resize(m: Any) -> None:
    """Sizes that a module of torch keeps beside its tensors."""
    if isinstance(m, nn.Linear):
        m.out_features, m.in_features = m.weight.shape
    elif isinstance(m, nn.modules.conv._ConvNd):
        if m.transposed:
            m.groups = m.groups * m.weight.shape[0] // m.in_channels if m.groups > 1 else 1
            m.in_channels, m.out_channels = m.weight.shape[0], m.weight.shape[1] * m.groups
        else:
            m.groups = m.groups * m.weight.shape[0] // m.out_channels if m.groups > 1 else 1
            m.out_channels, m.in_channels = m.weight.shape[0], m.weight.shape[1] * m.groups
    elif isinstance(m, nn.modules.batchnorm._NormBase):
        size = next((len(t) for t in (m.weight, m.running_mean) if t is not None), m.num_features)
        m.num_features = size
    elif isinstance(m, (nn.LayerNorm, nn.RMSNorm)) and m.weight is not None:
        m.normalized_shape = tuple(m.weight.shape)
    elif isinstance(m, nn.GroupNorm) and m.weight is not None:
        m.num_groups = len(m.weight) if m.num_groups == m.num_channels else m.num_groups
        m.num_channels = len(m.weight)
    elif isinstance(m, nn.Embedding):
        m.embedding_dim = m.weight.shape[1]
    elif isinstance(m, nn.PReLU):
        m.num_parameters = len(m.weight)
