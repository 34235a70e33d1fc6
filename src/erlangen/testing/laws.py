"""The laws of a group and of its representations: which one fails, and for which elements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from erlangen.testing import leaves
from erlangen.testing.runner import CheckError

TOLERANCE = 1e-8
STEPS = (0.3, -1.1)


def check_group(group: Any, *, seed: int = 0, trials: int = 3) -> None:
    """`e g = g e = g`, `g g⁻¹ = g⁻¹ g = e` and `(gh)k = g(hk)` for drawn elements.

    Raises CheckError naming the law and the elements.
    """
    generator = torch.Generator().manual_seed(seed)
    identity = group.identity((), dtype=torch.float64)
    for _ in range(trials):
        g, h, k = (group.sample((), generator=generator, dtype=torch.float64) for _ in range(3))
        back = group.inverse(g)
        laws = (
            ("e g = g", group.compose(identity, g), g, (g,)),
            ("g e = g", group.compose(g, identity), g, (g,)),
            ("g g⁻¹ = e", group.compose(g, back), identity, (g,)),
            ("g⁻¹ g = e", group.compose(back, g), identity, (g,)),
            ("(gh)k = g(hk)", group.compose(group.compose(g, h), k), group.compose(g, group.compose(h, k)), (g, h, k)),
        )
        for law, got, want, elements in laws:
            off = _apart(got, want)
            if off > TOLERANCE:
                raise CheckError(f"group: {group} is not a group: {law} fails by {off:.1e} ({_names(group, elements)})")


def check_representation(
    group: Any, matrix: Callable[[Any], Tensor], *, argument: str = "representation", seed: int = 0, trials: int = 3
) -> None:
    """`ρ(e) = I`, `ρ(gh) = ρ(g) ρ(h)`, and for a Lie group `ρ(exp tX) = exp(t dρ(X))` for every basis vector `X`.

    Raises CheckError naming the law and the elements; a ρ that reverses products is named as the wrong side.
    """
    generator = torch.Generator().manual_seed(seed)
    still = matrix(group.identity((), dtype=torch.float64))
    off = _apart(still, torch.eye(still.shape[-1], dtype=still.dtype))
    if off > TOLERANCE:
        raise CheckError(f"{argument}: not a representation of {group}: ρ(e) is not the identity, by {off:.1e}")
    reversed_everywhere, failure = True, ""
    for _ in range(trials):
        g, h = (group.sample((), generator=generator, dtype=torch.float64) for _ in range(2))
        product = matrix(group.compose(g, h))
        off = _apart(matrix(g) @ matrix(h), product)
        reversed_everywhere = reversed_everywhere and _apart(matrix(h) @ matrix(g), product) <= TOLERANCE
        if off > TOLERANCE:
            failure = failure or f"ρ(gh) differs from ρ(g)ρ(h) by {off:.1e} ({_names(group, (g, h))})"
    if failure and reversed_everywhere:
        raise CheckError(f"{argument}: the wrong side: ρ(gh) is ρ(h)ρ(g); use the inverse or the transpose of ρ")
    if failure:
        raise CheckError(f"{argument}: not a representation of {group}: {failure}")
    _check_exponential(group, matrix, argument)


def _check_exponential(group: Any, matrix: Callable[[Any], Tensor], argument: str) -> None:
    if not getattr(group, "dim", 0) or not hasattr(group, "exp"):
        return
    for direction in torch.eye(group.dim, dtype=torch.float64):

        def along(t: Tensor, direction: Tensor = direction) -> Tensor:
            return matrix(group.exp(t * direction))

        zero = torch.zeros((), dtype=torch.float64)
        derivative = torch.func.jvp(along, (zero,), (torch.ones_like(zero),))[1]
        for t in STEPS:
            off = _apart(along(zero + t), torch.linalg.matrix_exp(t * derivative))
            if off > TOLERANCE:
                raise CheckError(
                    f"{argument}: not a representation of {group}: ρ(exp tX) differs from exp(t dρ(X)) by {off:.1e} "
                    f"(X = {direction.tolist()}, t = {t})"
                )


def representations(action: Any) -> Iterator[Any]:
    """The linear representations inside an action, the ones of its leaves included."""
    rep = getattr(action, "rep", None)
    if rep is not None and hasattr(rep, "matrix"):
        yield rep
    for name in ("leaves", "actions"):
        inner = getattr(action, name, None)
        inner = inner() if callable(inner) else inner
        for part in (inner.values() if isinstance(inner, dict) else inner) or ():
            yield from representations(part)


def _apart(got: Any, want: Any) -> float:
    left, right = leaves.stacked(_flat(got)), leaves.stacked(_flat(want))
    if left.shape != right.shape:
        return float("inf")
    return float((left - right).norm() / max(float(right.norm()), 1.0))


def _flat(value: Any) -> Any:
    return tuple(leaves.all_leaves(value)) if isinstance(value, tuple) else value


def _names(group: Any, elements: tuple[Any, ...]) -> str:
    words = []
    for name, g in zip("ghk", elements, strict=False):
        try:
            words.append(f"{name} = {group.label(g)}")
        except Exception:  # a group without labels
            words.append(f"{name} drawn")
    return ", ".join(words)
