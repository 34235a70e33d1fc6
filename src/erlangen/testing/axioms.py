"""Is the given transformation a group action at all? Says which law fails, for which elements and which leaf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch

from erlangen.groups.symmetry import Symmetry
from erlangen.testing import leaves
from erlangen.testing.runner import CheckError, first_line, relative_error

Side = Literal["left", "right", "either"]
TOLERANCE = 1e-8


def action_side(group: Any, act: Callable[[Any, Any], Any], x: Any, argument: str, *, seed: int = 0) -> Side:
    """Whether `act` is a left action, a right one, or both (abelian or trivial).

    Raises CheckError naming the law that fails: the identity must do nothing and `act(g, act(h, x))` must be
    `act(gh, x)`.
    """
    generator = torch.Generator().manual_seed(seed)
    x = leaves.cast(x, torch.float64)
    identity = group.identity((), dtype=torch.float64)
    try:
        still = act(identity, x)
    except Exception as error:
        shape = f" on a tensor of shape {tuple(x.shape)}" if isinstance(x, torch.Tensor) else ""
        raise CheckError(f"{argument}: the action of {group}{shape} failed: {first_line(error)}") from error
    wrong, path = _difference(still, x)
    if wrong > TOLERANCE:
        raise CheckError(f"{argument}: not an action of {group}: the identity moves {path} by {wrong:.1e}; it must not")
    left = right = 0.0
    where, names = "", ""
    for _ in range(3):
        g = group.sample((), generator=generator, dtype=torch.float64)
        h = group.sample((), generator=generator, dtype=torch.float64)
        twice = act(g, act(h, x))
        off_left, path = _difference(twice, act(group.compose(g, h), x))
        off_right, _ = _difference(twice, act(group.compose(h, g), x))
        if off_left > left:
            where, names = path, f"g = {_label(group, g)}, h = {_label(group, h)}"
        left, right = max(left, off_left), max(right, off_right)
    if left <= TOLERANCE:
        return "either" if right <= TOLERANCE else "left"
    if right <= TOLERANCE:
        return "right"
    raise CheckError(
        f"{argument}: not an action of {group}: act(g, act(h, x)) differs from act(gh, x) by {left:.1e} on {where} "
        f"({names}), and acting in the other order does not agree either"
    )


def check_actions(symmetry: Symmetry, args: tuple[Any, ...], out: Any, *, seed: int = 0) -> list[str]:
    """Notes on the two actions; raises CheckError where one is no action, or where their sides disagree."""
    if symmetry.is_user_written:
        return []
    sides: dict[str, Side] = {}
    if getattr(symmetry.input_action, "exact", True):
        sides["input"] = action_side(symmetry.group, symmetry.act_input, args, "input", seed=seed)
    if getattr(symmetry.output_action, "exact", True):
        sides["output"] = action_side(symmetry.group, symmetry.act_output, _generic(out, seed), "output", seed=seed)
    found = set(sides.values())
    if {"left", "right"} <= found:
        argument = next(k for k, v in sides.items() if v == "right")
        raise CheckError(
            f"{argument}: acts from the wrong side: act(g, act(h, x)) is act(hg, x) instead of act(gh, x); points are "
            "rows, so a rotation acts as x @ R.mT, not x @ R"
        )
    if "right" in found:
        return ["both transformations act from the right (x @ R); the verdict is the same as for x @ R.mT on both"]
    return []


def _generic(out: Any, seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)

    def one(t: Any) -> Any:
        return t + torch.randn(t.shape, generator=generator, dtype=t.dtype) if leaves.is_plain(t) else t

    return leaves.map_leaves(one, leaves.cast(out, torch.float64))


def _difference(got: Any, want: Any) -> tuple[float, str]:
    pairs = zip(
        leaves.tensors_of(_tensors(got), "argument"), leaves.tensors_of(_tensors(want), "argument"), strict=False
    )
    worst, where = 0.0, "the argument"
    for (path, a), (_, b) in pairs:
        error = relative_error(leaves.stacked(a), leaves.stacked(b))
        if error > worst:
            worst, where = error, path
    return worst, where


def _tensors(value: Any) -> Any:
    return tuple(leaves.all_leaves(value))


def _label(group: Any, g: Any) -> str:
    try:
        return str(group.label(g))
    except Exception:
        return "a drawn element"
