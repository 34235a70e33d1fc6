"""Tables computed once in float64 and handed out in the dtype and on the device of whoever asks."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor


def constant(shape: Callable[..., tuple[int, ...]]) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Decorator: cache a float64 table by its integer arguments; `shape` tells its shape without computing it.

    In a compiled graph the table is one opaque operator, so that the compiler never looks into how it is computed. The
    table is shared: callers convert it with `like` or copy it, and never write into it.
    """

    def decorate(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
        cached = functools.cache(compute)

        def evaluate(arguments: list[int]) -> Tensor:
            return cached(*arguments).clone()

        def shape_only(arguments: list[int]) -> Tensor:
            return torch.empty(shape(*arguments), dtype=torch.float64)

        name = f"erlangen::{compute.__name__.strip('_')}"
        operator = torch.library.custom_op(name, evaluate, mutates_args=(), schema="(int[] arguments) -> Tensor")
        operator.register_fake(shape_only)

        @functools.wraps(compute)
        def table(*arguments: int) -> Tensor:
            return operator(list(arguments)) if torch.compiler.is_compiling() else cached(*arguments)

        return table

    return decorate


def like(table: Tensor, reference: Tensor) -> Tensor:
    """The table in the floating-point type and on the device of `reference`."""
    return table.to(dtype=reference.dtype, device=reference.device)


def fresh(table: Tensor, dtype: torch.dtype | None, device: torch.device | str | None) -> Tensor:
    """A copy of a table that its owner may write into; float64 on the CPU by default."""
    return table.to(dtype=dtype or torch.float64, device=device, copy=True)
