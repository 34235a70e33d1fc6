"""Find the first submodule at which the error appears: the first whose inputs still move with the group in some way.

No list of ways is needed. A hidden tensor that moves by any orthogonal action, `h(g·x) = T h(x)`, whatever `T` is (a
permutation, a rotation, an irrep, a regular representation), keeps the inner products of its values and of its
derivatives over several inputs; a layer that breaks the symmetry does not keep them.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from erlangen.testing import leaves
from erlangen.testing.causes.motion import motion_of
from erlangen.testing.elements import Draw
from erlangen.testing.measure import Measured, move_input
from erlangen.testing.result import CheckResult
from erlangen.testing.runner import Runner, relative_error
from erlangen.testing.session import Session

KEPT = {torch.float64: 1e-6, torch.float32: 5e-3}
NUDGE = {torch.float64: 1e-4, torch.float32: 1e-2}
NUDGES = 2
LARGEST = 2**24  # hidden numbers in one pass; beyond it the comparison costs more memory than it is worth


@dataclass
class Visit:
    """One call of one submodule: what went in and what came out."""

    name: str
    module: nn.Module
    inputs: list[Tensor]
    outputs: list[Tensor]
    is_leaf: bool


def first_breaking(session: Session, result: CheckResult, main: Measured, *, seed: int) -> str | None:
    """The name and kind of the first submodule whose inputs still move with the group and whose output does not."""
    if not session.main.modules or session.random:
        return _random_layer(session) if session.random else None
    named = {p: e for p, e in main.parts().items() if p != "whole group"} or main.parts()
    if max(named.values(), default=0.0) < 0.01 * main.worst:
        named = main.parts()
    part = max(named, key=lambda p: named[p])
    ranked = sorted(zip(main.errors, range(len(main.draws)), strict=True), reverse=True)
    draws = [main.draws[i] for e, i in ranked if main.draws[i].part == part and e > 0]
    is_exact = getattr(session.symmetry.input_action, "is_exact", None)
    if getattr(session.symmetry.input_action, "exact", True) is False:
        draws = [d for d in draws if is_exact is not None and bool(is_exact(d.g))]
    if not draws:
        return None
    try:
        return _search(session, draws[:2], min(main.worst, 1.0))
    except Exception:  # localisation is a service on top of the verdict: where it cannot work, it says nothing
        return None


def _search(session: Session, draws: list[Draw], worst: float) -> str | None:
    runner = session.main
    motion = motion_of(session, draws[0])
    inputs = [leaves.cast(session.args, runner.dtype), *_nudged(session)]
    plain = [record(runner, x) for x in inputs]
    if not plain[0] or sum(t.numel() for v in plain[0] for t in v.outputs) > LARGEST:
        return None
    groups = []
    for draw in draws:
        moved = [record(runner, move_input(session.symmetry, draw.g, x, runner.dtype)) for x in inputs]
        if {len(v) for v in [*moved, *plain]} != {len(plain[0])}:
            return None
        groups.append((draw, moved))
    limit = max(min(KEPT[runner.dtype], 1e-2 * worst), 1e-10)

    def holds(i: int, which: str) -> bool | None:
        answers = []
        for k, tensor in enumerate(getattr(plain[0][i], which)):
            for draw, moved in groups:
                ours = [getattr(p[i], which) for p in plain]
                theirs = [getattr(m[i], which) for m in moved]
                if any(k >= len(v) or v[k].shape != tensor.shape for v in [*ours, *theirs]):
                    return None  # its size depends on the input: nothing can be said
                pair = [v[k] for v in ours], [v[k] for v in theirs]
                answers.append(_moves_along(session, draw, motion, *pair, limit))
        return all(answers)

    for i, visit in enumerate(plain[0]):
        given = holds(i, "inputs") if visit.inputs else True
        made = holds(i, "outputs") if visit.outputs else True
        if given is None or made is None:
            return None
        if not given and visit.is_leaf:
            parent = visit.name.rpartition(".")[0]
            before = f"before {visit.name}" if visit.name else "at the entry"
            return f"{parent or 'the forward of the model'} ({before}, outside any submodule)"
        if given and not made:
            return f"{visit.name or 'the model'} ({describe(visit, session, draws[0])})"
    return (
        None if _output_moves_along(session, draws, motion, inputs, limit) else "the model (after the last submodule)"
    )


def _nudged(session: Session) -> list[Any]:
    """The inputs moved by little, in directions of their own."""
    runner, generator = session.main, torch.Generator().manual_seed(3)
    step = NUDGE[runner.dtype]

    def one(leaf: Any) -> Any:
        if not leaves.is_plain(leaf):
            return leaf
        spread = float(leaf.double().std()) if leaf.numel() > 1 else 1.0
        return leaf + step * (spread or 1.0) * torch.randn(leaf.shape, generator=generator, dtype=torch.float64)

    base = leaves.cast(session.args, torch.float64)
    return [leaves.cast(leaves.map_leaves(one, base), runner.dtype) for _ in range(NUDGES)]


def _moves_along(
    session: Session, draw: Draw, motion: str, ours: list[Tensor], theirs: list[Tensor], limit: float
) -> bool:
    """Whether some orthogonal map takes the values and derivatives of `ours` to those of `theirs`."""
    if motion == "translation":
        return _translated(session, draw, ours, theirs, limit)
    left, right = _gram(session, ours), _gram(session, theirs)
    if motion == "scale" and float(left[0, 0]) > 0:
        right = right * (left[0, 0] / right[0, 0].clamp_min(1e-300))
    scale = torch.sqrt(left.diagonal()[:, None] * left.diagonal()[None])
    floor = 1e-12 * float(scale.max()) + 1e-300
    return float(((left - right).abs() / (scale + floor)).max()) <= limit if float(scale.max()) > 0 else True


def _gram(session: Session, values: list[Tensor]) -> Tensor:
    step = NUDGE[session.main.dtype]
    flat = [v.double().reshape(-1) for v in values]
    rows = torch.stack([flat[0], *((f - flat[0]) / step for f in flat[1:])])
    rows = torch.nan_to_num(rows, posinf=0.0, neginf=0.0)
    return rows @ rows.T


def _translated(session: Session, draw: Draw, ours: list[Tensor], theirs: list[Tensor], limit: float) -> bool:
    """Whether the tensor stays, or is moved as the points are."""
    x, y = ours[0].double(), theirs[0].double()
    if relative_error(y.reshape(-1), x.reshape(-1)) <= max(limit, 1e-8):
        return True
    shift = y - x
    if shift.dim() < 2:
        return False
    rows = shift.reshape(-1, shift.shape[-1])
    if float((rows - rows[0]).norm()) > 1e-8 * float(rows.norm()):
        return False
    with contextlib.suppress(Exception):
        given = session.symmetry.group.point_translation(draw.g)
        return given is not None and relative_error(rows[0], given.double()) <= 1e-8
    return x.shape[-1] <= 4


def _output_moves_along(session: Session, draws: list[Draw], motion: str, inputs: list[Any], limit: float) -> bool:
    """Whether the model's output as a whole moves consistently, though not as its type says."""
    runner = session.main
    ours = [leaves.stacked(runner(x, seed=0)) for x in inputs]
    for draw in draws:
        moved = [move_input(session.symmetry, draw.g, x, runner.dtype) for x in inputs]
        theirs = [leaves.stacked(runner(x, seed=0)) for x in moved]
        if any(t.shape != ours[0].shape for t in theirs) or not _moves_along(
            session, draw, motion, ours, theirs, limit
        ):
            return False
    return True


def record(runner: Runner, args: tuple[Any, ...]) -> list[Visit]:
    """Every submodule call in order of completion, with tensors detached."""
    visits: list[Visit] = []
    handles = []

    def hook(name: str, is_leaf: bool) -> Any:
        def run(module: nn.Module, given: Any, keywords: Any, output: Any) -> None:
            taken = _floating((given, keywords))
            visits.append(Visit(name, module, taken, _floating(output), is_leaf))

        return run

    for root in runner.modules:
        for name, module in root.named_modules():
            is_leaf = not any(True for _ in module.children())
            if name or is_leaf:
                handles.append(module.register_forward_hook(hook(name, is_leaf), with_kwargs=True))
    try:
        runner(args, seed=0)
    finally:
        for handle in handles:
            handle.remove()
    return visits


def _floating(value: Any) -> list[Tensor]:
    return [
        t.detach().cpu().clone() for t in leaves.all_leaves(value) if isinstance(t, Tensor) and t.is_floating_point()
    ]


def linear_part(group: Any, g: Any) -> Tensor | None:
    """The matrix with which `g` acts on vectors, or None."""
    with contextlib.suppress(Exception):
        factors = getattr(group, "factors", None)
        if factors is not None:
            found = [linear_part(f, e) for f, e in zip(factors, g, strict=True)]
            return next((m for m in found if m is not None), None)
        matrix = group.point_matrix(g).to(torch.float64)
        return matrix if matrix.dim() == 2 else None
    return None


def permutation_part(group: Any, g: Any) -> Tensor | None:
    """The permutation in `g` (image notation), or None."""
    factors = getattr(group, "factors", None)
    if factors is not None:
        found = [permutation_part(f, e) for f, e in zip(factors, g, strict=True)]
        return next((p for p in found if p is not None), None)
    return g if type(group).__name__ == "Symmetric" and isinstance(g, Tensor) else None


def describe(visit: Visit, session: Session, draw: Draw) -> str:
    """The kind of a layer, and what it works over when that is the mistake."""
    kind = type(visit.module).__name__
    return f"{kind} over the components of a vector" if _takes_vectors(visit, session, draw) else kind


def _takes_vectors(visit: Visit, session: Session, draw: Draw) -> bool:
    """Whether a layer is given components that rotate: its input changes under a rotation, keeping its length."""
    if motion_of(session, draw) not in ("rotation", "reflection"):
        return False
    runner = session.main
    moved = record(runner, move_input(session.symmetry, draw.g, leaves.cast(session.args, runner.dtype), runner.dtype))
    for other in moved:
        if other.name == visit.name and other.inputs and visit.inputs:
            return relative_error(other.inputs[0].reshape(-1), visit.inputs[0].reshape(-1)) > 1e-3
    return False


def _random_layer(session: Session) -> str | None:
    for root in session.main.modules:
        for name, module in root.named_modules():
            if "Dropout" in type(module).__name__ and module.training and getattr(module, "p", 1) > 0:
                return f"{name or 'the model'} ({type(module).__name__} in train mode)"
    return None
