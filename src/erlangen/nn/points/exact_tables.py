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
        self._complex: set[str] = set()

    def add_table(self, name: str, table: Tensor) -> None:
        """Register `table` (float64, complex128 or integer) in the default precision; complex ones as pairs of reals."""
        if table.is_complex():
            self._complex.add(name)
            table = torch.view_as_real(table)
        self._exact[name] = table.contiguous()
        self.register_buffer(name, _cast(table, torch.get_default_dtype(), table.device), persistent=False)

    def table(self, name: str, x: Tensor) -> Tensor:
        """The table in the precision of `x`, at no cost where the module already has it."""
        kept = self.get_buffer(name)
        if kept.dtype != x.dtype or kept.device != x.device:
            kept = _cast(self._exact[name], x.dtype, x.device)
        return torch.view_as_complex(kept) if name in self._complex else kept

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        out = super()._apply(fn, recurse)
        for name, exact in self._exact.items():
            moved = self.get_buffer(name)
            if not moved.is_meta:
                setattr(self, name, _cast(exact, moved.dtype, moved.device))
        return out


def _cast(table: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    return table.to(device=device, dtype=dtype if table.is_floating_point() else None).contiguous()


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision is computed in float32: the sums over the sphere cancel."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
