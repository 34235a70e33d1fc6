"""Experiments on a private copy of a broken model: change one thing, and see whether the break is gone."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from erlangen.testing import leaves, perturb
from erlangen.testing.budget import Budget
from erlangen.testing.causes.motion import Motion, motion_of
from erlangen.testing.elements import Draw
from erlangen.testing.measure import Measured, compare, measure, move_input
from erlangen.testing.result import CheckResult
from erlangen.testing.runner import Runner
from erlangen.testing.session import Session

TRIVIAL = 1e-9  # an output this small beside the original one says nothing


class Lab:
    """The broken elements of one check, and what the model does with them when something is changed."""

    def __init__(self, session: Session, result: CheckResult, main: Measured, budget: Budget, *, seed: int) -> None:
        self.session, self.result, self.main, self.budget, self.seed = session, result, main, budget, seed
        self.symmetry, self.runner = session.symmetry, session.main
        double = self.runner.dtype == torch.float64
        worst = min(result.worst_error, 1.0)
        self.tolerance = max(1e-9, 1e-3 * worst) if double else max(1e-5, 1e-2 * worst)
        self.noise_seed = seed if session.random else 0
        self.base = leaves.cast(session.args, self.runner.dtype)
        self.output = self.runner(self.base, seed=self.noise_seed) if session.random else main.output
        self.size = float(leaves.stacked(self.output).norm())

    @functools.cached_property
    def picks(self) -> list[Draw]:
        """The worst elements: two of every broken part, of the whole group only where no part breaks."""
        order = sorted(range(len(self.main.draws)), key=lambda i: -self.main.errors[i])
        broken = [self.main.draws[i] for i in order if self.main.errors[i] > max(0.01 * self._cap(), self.tolerance)]
        named = [d for d in broken if d.part != "whole group"] or broken
        kept: list[Draw] = []
        for draw in named:
            if sum(k.part == draw.part for k in kept) < 2:
                kept.append(draw)
        return kept

    def _cap(self) -> float:
        return min(self.main.worst, 1.0)

    @functools.cached_property
    def broken_parts(self) -> set[str]:
        return {draw.part for draw in self.picks}

    @functools.cached_property
    def motions(self) -> set[Motion]:
        """What the broken elements do to the input."""
        found = {motion_of(self.session, draw) for draw in self.picks}
        return found - {"shift"} if "permutation" in found else found

    @functools.cache  # noqa: B019
    def moved(self, draw: Draw) -> Any:
        """`f(g·x)` of the model as given."""
        return self.runner(move_input(self.symmetry, draw.g, self.base, self.runner.dtype), seed=self.noise_seed)

    def afford(self, calls: int) -> bool:
        return self.budget.affords(self.runner, calls, share=0.8)

    def error_of(self, g: Any, *, args: Any = None) -> float:
        """The error of the model as given for any one element."""
        base = self.base if args is None else leaves.cast(args, self.runner.dtype)
        out = self.output if args is None else self.runner(base, seed=self.noise_seed)
        got = self.runner(move_input(self.symmetry, g, base, self.runner.dtype), seed=self.noise_seed)
        return compare(self.symmetry, g, got, out)

    def error_with(
        self,
        change: Callable[[Runner], object] | None = None,
        *,
        args: Any = None,
        during: Callable[[], Any] | None = None,
        draws: list[Draw] | None = None,
    ) -> float:
        """The worst error over the broken elements once `change` is made; infinite where the result says nothing."""
        draws = self.picks if draws is None else draws
        if not self.afford(len(draws) + 1):
            self.budget.skip("some causes")
            return math.inf
        try:
            with perturb.changed_runner(self.runner) as twin:
                twin.refused = {"batch", "vmap"}
                if change is not None and change(twin) is False:
                    return math.inf
                with during() if during is not None else contextlib.nullcontext():
                    given = self.session.args if args is None else args
                    found = measure(twin, self.symmetry, given, draws, seed=self.noise_seed)
        except Exception:  # a change that the model cannot bear explains nothing
            return math.inf
        if not math.isfinite(found.scale) or found.scale <= TRIVIAL * self.size:
            return math.inf
        return found.worst

    def heals(self, change: Callable[[Runner], object] | None = None, **options: Any) -> bool:
        """Whether the break is gone once `change` is made."""
        return self.error_with(change, **options) <= self.tolerance

    def jittered(self, size: float) -> Any:
        """The given inputs with every number moved by that part of their spread."""
        generator = torch.Generator().manual_seed(self.seed + 1)

        def one(leaf: Any) -> Any:
            if not leaves.is_plain(leaf):
                return leaf
            spread = float(leaf.double().std()) if leaf.numel() > 1 else float(leaf.abs().max())
            noise = torch.randn(leaf.shape, generator=generator, dtype=torch.float64)
            return leaf.double() + size * (spread or 1.0) * noise

        return leaves.map_leaves(one, self.session.args)


def own_tensors(runner: Runner) -> list[tuple[str, str, Tensor]]:
    """The (kind, name, tensor) of every floating parameter, buffer and plain tensor attribute of the model."""
    found: list[tuple[str, str, Tensor]] = []
    seen: set[int] = set()
    for root in runner.modules:
        for prefix, module in root.named_modules():
            tables = (("parameter", module._parameters), ("buffer", module._buffers), ("tensor", vars(module)))
            for kind, table in tables:
                for name, value in table.items():
                    if isinstance(value, Tensor) and value.is_floating_point() and id(value) not in seen:
                        seen.add(id(value))
                        found.append((kind, f"{prefix}.{name}" if prefix else name, value))
    return found
