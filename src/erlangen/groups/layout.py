"""Two orders of the components of a direct sum of irreps, and the way between them."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.groups.irreps import Irreps

Layout = Literal["mul_ir", "ir_mul"]


def to_layout(
    x: Float[Tensor, "*batch dim"], irreps: str | Irreps, *, source: Layout, target: Layout
) -> Float[Tensor, "*batch dim"]:
    """The same features in another order.

    A term "8x1o" has 8 copies of 3 components. In "mul_ir", e3nn's and this library's, a copy's components are
    neighbours; in "ir_mul", one of cuEquivariance's, a component's copies are.

    Args:
        x: features on the last axis.
        irreps: what they are, as a string or `Irreps`.
        source: the order of `x`.
        target: the order of the result.

    Raises:
        ValueError: an unknown layout, or a last axis of another size than the irreps.
    """
    known = Irreps(irreps) if isinstance(irreps, str) else irreps
    for name, value in (("source", source), ("target", target)):
        if value not in ("mul_ir", "ir_mul"):
            raise ValueError(f"{name}: {value!r}; allowed: 'mul_ir', 'ir_mul'")
    if x.shape[-1] != known.dim:
        raise ValueError(f"x: a last axis of {known.dim} is needed for {known}, given {x.shape[-1]}")
    if source == target:
        return x
    pieces = []
    for term, place in zip(known.terms, known.slices, strict=True):
        sizes = (term.mul, 2 * term.degree + 1)
        piece = x[..., place].unflatten(-1, sizes if source == "mul_ir" else sizes[::-1])
        pieces.append(piece.mT.flatten(-2))
    return torch.cat(pieces, -1)
