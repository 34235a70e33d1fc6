"""Recognise an output that says nothing: constant, blind to its input, or made of rounding noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from erlangen.testing import leaves
from erlangen.testing.runner import Runner

BEYOND_ROUNDING = 1e-12
EPSILON_RATIO = 1e6  # between float32 and float64, with a margin


def other_inputs(args: tuple[Any, ...], generator: torch.Generator) -> list[tuple[Any, ...]]:
    """Inputs of the same kind but with other values, on several scales; edge lists are redrawn in the last only."""

    def noise(leaf: Tensor) -> Tensor:
        return torch.randn(leaf.shape, generator=generator, dtype=torch.float64).to(leaf.dtype)

    def real(leaf: Tensor, scale: float, fresh: bool) -> Tensor:
        spread = float(leaf.std()) if leaf.numel() > 1 else 0.0
        spread = spread if spread > 0 else max(float(leaf.abs().max()), 1.0)
        if fresh and float(leaf.min()) >= 0:
            return noise(leaf).abs() * spread * scale
        return (noise(leaf) * spread if fresh else leaf + 0.3 * noise(leaf) * spread) * scale

    def drawn(scale: float, fresh: bool, edges: bool = False) -> tuple[Any, ...]:
        def one(leaf: Any) -> Any:
            if leaf.layout is not torch.strided:
                return _scaled_sparse(leaf, generator)
            if not leaf.numel():
                return leaf
            if leaf.is_complex():
                return torch.complex(real(leaf.real, scale, fresh), real(leaf.imag, scale, fresh))
            return real(leaf, scale, fresh) if leaf.is_floating_point() else _shuffled(leaf, generator, edges)

        return leaves.map_leaves(one, args)

    kinds = ((1.0, False), (1.0, True), (3.0, True), (0.1, True), (30.0, True))
    return [*(drawn(scale, fresh) for scale, fresh in kinds), drawn(1.0, False, edges=True)]


def _scaled_sparse(leaf: Tensor, generator: torch.Generator) -> Tensor:
    """The same pattern with other values."""
    if leaf.layout is not torch.sparse_coo or not leaf.is_floating_point():
        return leaf
    leaf = leaf.coalesce()
    factor = torch.rand(leaf.values().shape, generator=generator, dtype=torch.float64).to(leaf.dtype) + 0.5
    return torch.sparse_coo_tensor(leaf.indices(), leaf.values() * factor, leaf.shape)


def _shuffled(leaf: Tensor, generator: torch.Generator, edges: bool) -> Tensor:
    """Integers and masks drawn anew from the values that occur; edge lists (two rows of indices) only if asked."""
    if leaf.dtype == torch.bool or (not edges and leaf.dim() == 2 and leaf.shape[0] == 2):
        return leaf
    values = torch.unique(leaf)
    if values.numel() < 2:
        return leaf
    pick = torch.randint(values.numel(), leaf.shape, generator=generator)
    return values[pick]


def why_vacuous(
    runner: Runner, args: tuple[Any, ...], output: Any, *, seed: int, low: Any = None, random: bool = True
) -> str | None:
    """Words for why the output is vacuous, or None. `low` is the output in float32, where the model runs in both; a
    model that is not `random` is not asked for its output again."""
    base = leaves.stacked(output)
    if base.numel() == 0:
        return "the output has no numbers in it"
    scale = float(base.norm())
    if low is not None:
        rounded = leaves.stacked(low)
        low_scale = float(rounded.norm()) if rounded.shape == base.shape else 0.0
        if low_scale > 0 and scale * EPSILON_RATIO < low_scale and low_scale < 1e-2:
            return "the output is rounding noise: it shrinks with the machine precision"
    generator = torch.Generator().manual_seed(seed)
    tolerance = BEYOND_ROUNDING if runner.dtype == torch.float64 else 3e-6
    reference = leaves.stacked(runner(leaves.cast(args, runner.dtype), seed=seed)) if random else base
    ran = False
    for other in other_inputs(leaves.cast(args, torch.float64), generator):
        try:
            out = leaves.stacked(runner(leaves.cast(other, runner.dtype), seed=seed))
        except Exception:  # the model may refuse made-up inputs; the next kind may pass
            continue
        ran = True
        if out.shape != reference.shape:
            return None
        moved = float(torch.nan_to_num(out - reference).norm())
        if moved > tolerance * max(float(reference.norm()), float(torch.nan_to_num(out).norm())):
            return None
    if not ran:
        return None
    if scale == 0.0:
        return "the output is zero for every input tried"
    return "the output is the same for every input tried (constant, or blind to its input)"
