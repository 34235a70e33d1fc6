"""Derivatives that an equivariant map must have: along the group (Lie) and with respect to the inputs (dual action)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from erlangen.testing import isolate, leaves
from erlangen.testing.measure import move_input
from erlangen.testing.session import Session

STEP = 1e-4
BY_JVP, BY_DIFFERENCES = 1e-7, 1e-5  # what may remain, relative to the output


def lie_derivative(session: Session, direction: Tensor) -> tuple[float, float]:
    """`‖d/dt (f(exp(tX)·x) − exp(tX)·f(x))‖` at `t = 0`, and how small it has to be to count as zero."""
    if session.main.dtype == torch.float64 and not session.main.numpy:
        try:
            return _by_jvp(session, direction), BY_JVP
        except Exception:  # an operator without forward-mode derivative
            pass
    return _by_differences(session, direction), BY_DIFFERENCES if session.main.dtype == torch.float64 else 0.1


def _by_jvp(session: Session, direction: Tensor) -> float:
    symmetry, runner = session.symmetry, session.main
    args, out = leaves.cast(session.args, torch.float64), session.outputs[session.main_name]

    def defect(t: Tensor) -> Tensor:
        g = symmetry.group.exp(t * direction)
        moved = leaves.to_device(symmetry.act_input(g, args), runner.device)
        with isolate.functions_in_precision(runner.model, runner.dtype):
            got = runner.model(**moved[0]) if runner.keyword else runner.model(*moved)
        return _stacked(got) - _stacked(symmetry.act_output(g, leaves.cast(out, torch.float64)))

    zero = torch.zeros((), dtype=torch.float64)
    isolate.seed_everything(0)
    return float(torch.func.jvp(defect, (zero,), (torch.ones_like(zero),))[1].norm())


def _by_differences(session: Session, direction: Tensor) -> float:
    symmetry, runner = session.symmetry, session.main
    step = STEP if runner.dtype == torch.float64 else 1e-2
    still = leaves.cast(session.outputs[session.main_name], torch.float64)
    sides = []
    for sign in (step, -step):
        g = symmetry.group.exp(sign * direction)
        out = leaves.stacked(runner(move_input(symmetry, g, session.args, runner.dtype), seed=0))
        sides.append(out - leaves.stacked(symmetry.act_output(g, still)))
    return float((sides[0] - sides[1]).norm()) / (2 * step)


def pulled_gradient(session: Session, g: Any, *, inside: bool = False) -> Tensor | None:
    """The gradient of `⟨c, f(g·x)⟩` (`inside`) or of `⟨c, g·f(x)⟩` with respect to `x`; None where there is none.

    `c` is a fixed pattern of weights; without `g` the plain `⟨c, f(x)⟩` is meant.
    """
    symmetry, runner = session.symmetry, session.main
    base = leaves.to_device(leaves.fresh(leaves.cast(session.args, runner.dtype)), runner.device)
    wanted: list[Tensor] = []

    def mark(leaf: Any) -> Any:
        if leaves.is_plain(leaf):
            wanted.append(leaf.requires_grad_(True))
        return leaf

    args = leaves.map_leaves(mark, base)
    isolate.seed_everything(0)
    with torch.enable_grad(), isolate.functions_in_precision(runner.model, runner.dtype):
        try:
            given = symmetry.act_input(g, args) if g is not None and inside else args
            out = runner.model(**given[0]) if runner.keyword else runner.model(*given)
            out = symmetry.act_output(g, out) if g is not None and not inside else out
            value = _stacked(out)
            if not wanted or not value.requires_grad:
                return None
            weights = torch.linspace(1.0, 3.0, value.numel(), dtype=value.dtype, device=value.device).cos()
            gradients = torch.autograd.grad((weights * value).sum(), wanted, allow_unused=True)
        except RuntimeError:  # an action or a model that cannot be differentiated
            return None
    filled = [torch.zeros_like(w) if d is None else d for d, w in zip(gradients, wanted, strict=True)]
    return torch.cat([f.reshape(-1) for f in filled]).detach().cpu().double()


def _stacked(value: Any) -> Tensor:
    """The floating numbers of a nested value as one vector that still knows its derivatives."""
    parts = []
    for leaf in leaves.all_leaves(value):
        leaf = torch.view_as_real(leaf.resolve_conj()) if leaf.is_complex() else leaf
        if leaf.is_floating_point():
            parts.append(leaf.reshape(-1).to(torch.float64))
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)
