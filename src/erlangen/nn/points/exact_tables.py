"""Modules with tables of constants that stay exact in whatever precision the module is moved to."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class ExactTables(nn.Module):
    """Keeps float64 originals beside its buffers: `module.double()` gets the exact numbers, not widened float32 ones.

    Tables are not in the state dict; they follow from the arguments of the constructor.
    """

    def __init__(self) -> None:
        super().__init__()
        self._exact: dict[str, Tensor] = {}

    def add_table(self, name: str, table: Tensor) -> None:
        """Register `table`, float64 (or complex128), in the default precision."""
        self._exact[name] = table.contiguous()
        self.register_buffer(name, _cast(table, torch.get_default_dtype(), table.device), persistent=False)

    def table(self, name: str, x: Tensor) -> Tensor:
        """The table in the precision of `x`, at no cost where the module already has it."""
        kept = getattr(self, name)
        real = kept.real.dtype if kept.is_complex() else kept.dtype
        if real == x.dtype and kept.device == x.device:
            return kept
        return _cast(self._exact[name], x.dtype, x.device)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        out = super()._apply(fn, recurse)
        for name, exact in self._exact.items():
            moved = getattr(self, name)
            if not moved.is_meta:
                real = moved.real.dtype if moved.is_complex() else moved.dtype
                # torch leaves complex buffers alone when it changes the precision of real ones
                wanted = fn(torch.zeros((), dtype=real, device=moved.device)).dtype
                setattr(self, name, _cast(exact, wanted, moved.device))
        return out


def _cast(table: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    if table.is_complex():
        wide = torch.promote_types(dtype, torch.complex64)
        return table.to(device=device, dtype=wide if wide.is_complex else torch.complex64)
    if not table.is_floating_point():
        return table.to(device)
    return table.to(device=device, dtype=dtype).contiguous()


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision is computed in float32: the sums over the sphere cancel."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
