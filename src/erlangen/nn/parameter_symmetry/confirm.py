"""Tries every group out on a copy with perturbed weights, and withdraws what changes the function."""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from erlangen.nn.parameter_symmetry.groups import Fixed, Group
from erlangen.nn.parameter_symmetry.surgery import gather_clusters_, permute_, scale_, slice_, tensor_of


@torch.no_grad()
def confirm(
    model: nn.Module, groups: list[Group], inputs: tuple[Any, ...], *, seed: int
) -> tuple[list[Group], list[Fixed]]:
    """The groups, without those, their factors and their mergers that do not hold; and the list of what was withdrawn."""
    generator = torch.Generator().manual_seed(seed)
    work = copy.deepcopy(model)
    _perturb(work, generator)
    before = _run(work, inputs)
    kept, withdrawn = [], []
    for group in groups:
        order = torch.randperm(group.size, generator=generator)
        permute_(work, group, order)
        held = _same(before, _run(work, inputs))
        permute_(work, group, order.argsort())
        if not held:
            slots = tuple((s.name, s.axis) for s in group.slots)
            withdrawn.append(Fixed(slots, "permuting these units changed the function"))
            continue
        group = replace(group, factors=_factors(work, group, inputs, before, generator))
        kept.append(_merger(work, group, inputs, generator))
    return kept, withdrawn


def _factors(
    work: nn.Module, group: Group, inputs: tuple[Any, ...], before: list[Tensor], generator: torch.Generator
) -> tuple[Any, ...]:
    held = []
    for which, factor in enumerate(group.factors):
        by = torch.rand(group.size, generator=generator) + 0.5
        saved = [(s, tensor_of(work, s.name).clone()) for s in (*factor.writes, *factor.reads)]
        scale_(work, group, by, which)
        if _same(before, _run(work, inputs)):
            held.append(factor)
        for slot, values in saved:
            tensor_of(work, slot.name).copy_(values)
    return tuple(held)


def _merger(work: nn.Module, group: Group, inputs: tuple[Any, ...], generator: torch.Generator) -> Group:
    """Make two units equal, then one: the function must not notice."""
    if group.not_sliceable or group.not_mergeable:
        return group
    trial = copy.deepcopy(work)
    a, b = torch.randperm(group.size, generator=generator)[:2].tolist()
    for slot in group.slots:
        if slot.role != "reads":
            t = tensor_of(trial, slot.name)
            index = slot.index.to(t.device)
            t.index_copy_(slot.axis, index[b], t.index_select(slot.axis, index[a]))
    try:
        before = _run(trial, inputs)
        cluster = torch.arange(group.size)
        cluster[b] = a
        keep = gather_clusters_(trial, group, cluster)
        slice_(trial, {group.name: keep}, {group.name: group})
        held = _same(before, _run(trial, inputs))
    except (RuntimeError, ValueError, TypeError, AssertionError, IndexError) as error:
        return replace(group, not_sliceable=f"the model does not run with fewer of them ({type(error).__name__})")
    return group if held else replace(group, not_sliceable="with fewer of them the model computes something else")


def _perturb(model: nn.Module, generator: torch.Generator) -> None:
    """Weights in general position, so that zeros and ties of an initialisation hide nothing."""
    statistics = [(n, b) for n, b in model.named_buffers() if n.rpartition(".")[2] in ("running_mean", "running_var")]
    for name, t in [*model.named_parameters(), *statistics]:
        if not t.is_floating_point():
            continue
        noise = torch.randn(t.shape, generator=generator).to(t)
        spread = float(t.std()) if t.numel() > 1 else 0.0
        t.add_(noise, alpha=0.3 * spread if spread > 1e-6 else 0.1)
        if name.endswith("running_var"):
            t.abs_().add_(0.1)


def _run(model: nn.Module, inputs: tuple[Any, ...]) -> list[Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return [t.detach().clone() for t in tree_leaves(model(*inputs)) if isinstance(t, Tensor)]


def _same(a: list[Tensor], b: list[Tensor]) -> bool:
    if [t.shape for t in a] != [t.shape for t in b]:
        return False
    for x, y in zip(a, b, strict=True):
        if not x.is_floating_point():
            continue
        tolerance = {torch.float64: 1e-8, torch.float32: 1e-3}.get(x.dtype, 5e-2)
        if not bool((x - y).abs().max() <= tolerance * x.abs().max().clamp(min=1e-30)):
            return False
    return True
