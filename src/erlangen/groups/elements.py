"""Group elements are tensors or (nested) tuples of tensors: the few operations that treat both alike."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Elem = Tensor | tuple[Any, ...]


def map_elem(function: Callable[..., Tensor], *elements: Any) -> Any:
    """`function` applied to every tensor of an element (of several elements: leaf by leaf)."""
    first = elements[0]
    if isinstance(first, tuple):
        return tuple(map_elem(function, *leaves) for leaves in zip(*elements, strict=True))
    return function(*elements)


def leaves(g: Elem) -> list[Tensor]:
    """The tensors of an element, in order."""
    if isinstance(g, tuple):
        return [leaf for part in g for leaf in leaves(part)]
    return [g]


def first_leaf(g: Any) -> Tensor:
    """The first tensor of an element: its device and batch stand for all."""
    while isinstance(g, tuple):
        g = g[0]
    return g


def to_elem(g: Elem, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Elem:
    """Move an element; `dtype` reaches only floating-point leaves (complex ones take the complex type of the same
    precision), so that indices stay indices."""

    def move(leaf: Tensor) -> Tensor:
        wanted = dtype if leaf.is_floating_point() else None
        if leaf.is_complex() and dtype is not None:
            wanted = complex_dtype(dtype)
        return leaf.to(device=device, dtype=wanted)

    return map_elem(move, g)


def complex_dtype(dtype: torch.dtype | None) -> torch.dtype:
    """The complex type of the same precision; None stands for the default type."""
    dtype = torch.get_default_dtype() if dtype is None else dtype
    return dtype if dtype.is_complex else dtype.to_complex()


def as_batch(batch: int | Sequence[int]) -> tuple[int, ...]:
    return (batch,) if isinstance(batch, int) else tuple(int(b) for b in batch)


def draw_normal(
    shape: Sequence[int], generator: torch.Generator | None, device: torch.device | str | None = None
) -> Tensor:
    """Standard normal numbers in float64, drawn where the generator lives: one seed, one draw in every precision."""
    source = generator.device if generator is not None else torch.device("cpu")
    drawn = torch.randn(tuple(shape), generator=generator, dtype=torch.float64, device=source)
    return drawn.to(device) if device is not None else drawn


def draw_uniform(
    shape: Sequence[int], generator: torch.Generator | None, device: torch.device | str | None = None
) -> Tensor:
    """Numbers uniform in [0, 1), in float64, drawn where the generator lives."""
    source = generator.device if generator is not None else torch.device("cpu")
    drawn = torch.rand(tuple(shape), generator=generator, dtype=torch.float64, device=source)
    return drawn.to(device) if device is not None else drawn


def draw_integers(
    high: int, shape: Sequence[int], generator: torch.Generator | None, device: torch.device | str | None = None
) -> Tensor:
    """Integers uniform in 0 .. high - 1, int64, drawn where the generator lives."""
    source = generator.device if generator is not None else torch.device("cpu")
    drawn = torch.randint(high, tuple(shape), generator=generator, device=source)
    return drawn.to(device) if device is not None else drawn


def plane_rotation(angle: Tensor) -> Tensor:
    """[[cos, -sin], [sin, cos]], `[*B]` -> `[*B, 2, 2]`; multiples of a quarter turn come out exactly.

    The sine and cosine of pi / 2 in floating point miss 0 by an ulp, which would turn an exact permutation of pixels
    into a resampling; values within a few ulp of -1, 0, 1 are therefore rounded to them.
    """
    tolerance = 4 * torch.finfo(angle.dtype).eps * math.pi
    cos, sin = torch.cos(angle), torch.sin(angle)
    quarter = torch.minimum(cos.abs(), sin.abs()) < tolerance
    cos = torch.where(quarter, cos.detach().round() + (cos - cos.detach()), cos)
    sin = torch.where(quarter, sin.detach().round() + (sin - sin.detach()), sin)
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)


def block_diagonal(blocks: Sequence[Tensor]) -> Tensor:
    """Square matrices `[*B, d_i, d_i]` along the diagonal of one; batches broadcast."""
    batch = torch.broadcast_shapes(*(b.shape[:-2] for b in blocks))
    total = sum(b.shape[-1] for b in blocks)
    out = blocks[0].new_zeros(*batch, total, total)
    start = 0
    for b in blocks:
        stop = start + b.shape[-1]
        out[..., start:stop, start:stop] = b
        start = stop
    return out
