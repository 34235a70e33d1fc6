"""Find the first submodule at which the error appears, by guessing how every intermediate tensor should move."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from erlangen.testing import leaves
from erlangen.testing.elements import Draw
from erlangen.testing.measure import Measured, move_input
from erlangen.testing.result import CheckResult
from erlangen.testing.runner import Runner, relative_error
from erlangen.testing.session import Session

CONSISTENT = {torch.float64: 1e-8, torch.float32: 1e-3}


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
    part = max(main.parts(), key=lambda p: main.parts()[p])
    draws = [d for d, e in zip(main.draws, main.errors, strict=True) if d.part == part and e > 0]
    draws = sorted(draws, key=lambda d: -main.errors[main.draws.index(d)])[:2]
    try:
        return _search(session, draws)
    except Exception:  # localisation is a service on top of the verdict: where it cannot work, it says nothing
        return None


def _search(session: Session, draws: list[Draw]) -> str | None:
    runner = session.main
    base = leaves.cast(session.args, runner.dtype)
    plain = record(runner, base)
    moved = [(d, record(runner, move_input(session.symmetry, d.g, base, runner.dtype))) for d in draws]
    moved = [(d, visits) for d, visits in moved if len(visits) == len(plain)]
    if not plain or not moved:
        return None
    limit = CONSISTENT[runner.dtype]

    def holds(i: int, which: str) -> bool:
        tensors = getattr(plain[i], which)
        for k, tensor in enumerate(tensors):
            per_draw = []
            for draw, visits in moved:
                others = getattr(visits[i], which)
                if k >= len(others) or others[k].shape != tensor.shape:
                    return False
                per_draw.append(
                    {
                        n: relative_error(others[k].double().reshape(-1), c.reshape(-1))
                        for n, c in candidates(session, draw.g, tensor.double())
                    }
                )
            names = set.intersection(*(set(d) for d in per_draw))
            if not any(all(d[n] <= limit for d in per_draw) for n in names) and not _sorted_agree(
                tensor, [v[i] for _, v in moved], which, k, limit
            ):
                return False
        return True

    for i, visit in enumerate(plain):
        if visit.inputs and not holds(i, "inputs"):
            parent = visit.name.rpartition(".")[0]
            if not visit.is_leaf:
                continue
            before = f"before {visit.name}" if visit.name else "at the entry"
            return f"{parent or 'the forward of the model'} ({before}, outside any submodule)"
        if visit.outputs and not holds(i, "outputs"):
            return f"{visit.name or 'the model'} ({describe(visit, session)})"
    return "the model (after the last submodule)"


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
            if name:
                is_leaf = not any(True for _ in module.children())
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


def candidates(session: Session, g: Any, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Ways in which a hidden tensor may move under `g`."""
    symmetry = session.symmetry
    yield "invariant", x
    for name, act, like in _declared(session, g):
        if like is None or (like.dim() == x.dim() and like.shape[-1:] == x.shape[-1:]) or like.shape == x.shape:
            with contextlib.suppress(Exception):
                moved = act(x)
                if isinstance(moved, Tensor) and moved.shape == x.shape:
                    yield name, moved
    if symmetry.is_user_written:
        return
    matrix, permutation = linear_part(symmetry.group, g), permutation_part(symmetry.group, g)
    bases = [("", x)]
    if permutation is not None:
        order = torch.argsort(permutation)
        size = len(order)
        axes = [a for a in range(x.dim()) if x.shape[a] == size]
        bases += [(f"permuted {a}", x.index_select(a, order)) for a in axes]
        bases += [
            (f"permuted {a} {b}", x.index_select(a, order).index_select(b, order))
            for i, a in enumerate(axes)
            for b in axes[i + 1 :]
        ]
        if x.dim() and x.shape[0] % size == 0 and x.shape[0] > size:
            folded = x.reshape(size, -1).index_select(0, order).reshape(x.shape)
            bases.append(("permuted blocks", folded))
    for name, base in bases:
        if name:
            yield name, base
        if matrix is None:
            continue
        d = matrix.shape[-1]
        for axis in range(base.dim()):
            if base.shape[axis] == d:
                turned = torch.tensordot(base, matrix, dims=([axis], [1])).movedim(-1, axis)
                yield f"{name} vector {axis}", turned
        if base.dim() and base.shape[-1] % d == 0 and base.shape[-1] > d:
            folded = base.reshape(*base.shape[:-1], -1, d)
            yield f"{name} vectors folded", (folded @ matrix.mT).reshape(base.shape)


def _declared(session: Session, g: Any) -> Iterator[tuple[str, Any, Tensor | None]]:
    symmetry = session.symmetry
    output = session.outputs[session.main_name]
    if isinstance(output, Tensor):
        yield "as the output", lambda x: symmetry.act_output(g, x), output
    if len(session.args) == 1 and isinstance(session.args[0], Tensor):
        yield "as the input", lambda x: symmetry.act_input(g, (x,))[0], session.args[0]
    elif not symmetry.is_user_written and isinstance(symmetry.input_type, (tuple, list)):
        from erlangen.groups import actions

        for i, kind in enumerate(symmetry.input_type):
            if i < len(session.args) and isinstance(session.args[i], Tensor):
                action = actions.from_type(kind, symmetry.group)
                yield f"as argument {i}", lambda x, a=action: a(g, x), session.args[i]
    if not symmetry.is_user_written and _names_image(symmetry.input_type):
        from erlangen.groups import actions

        image = actions.from_type("image", symmetry.group)
        yield "as an image", lambda x: image(g, x) if x.dim() >= 3 else x, None


def _names_image(kind: Any) -> bool:
    return kind == "image" or (isinstance(kind, (tuple, list)) and any(_names_image(k) for k in kind))


def _sorted_agree(tensor: Tensor, visits: list[Visit], which: str, k: int, limit: float) -> bool:
    """Whether the tensor holds the same numbers in another order (regular features, permuted and rotated maps)."""
    if tensor.numel() < 8 or tensor.dim() < 3:
        return False
    mine = tensor.double().reshape(-1).sort().values
    return all(relative_error(getattr(v, which)[k].double().reshape(-1).sort().values, mine) <= limit for v in visits)


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


def describe(visit: Visit, session: Session) -> str:
    """The kind of a layer, and what it works over when that is the mistake."""
    kind = type(visit.module).__name__
    sizes = {x.shape[-1] for x in visit.inputs if x.dim()}
    part = _dimension(session)
    if part is not None and part in sizes:
        return f"{kind} over the components of a vector"
    return kind


def _dimension(session: Session) -> int | None:
    group = session.symmetry.group
    if session.symmetry.is_user_written:
        return None
    matrix = linear_part(group, group.identity((), dtype=torch.float64))
    return None if matrix is None else int(matrix.shape[-1])


def _random_layer(session: Session) -> str | None:
    for root in session.main.modules:
        for name, module in root.named_modules():
            if "Dropout" in type(module).__name__ and module.training and getattr(module, "p", 1) > 0:
                return f"{name or 'the model'} ({type(module).__name__} in train mode)"
    return None
