"""Lie groups whose elements are their own matrices."""

import torch
from torch import Tensor

from erlangen.groups.base.group import Batch, Device
from erlangen.groups.base.lie_group import LieGroup
from erlangen.groups.elements import as_batch, complex_dtype


class MatrixGroup(LieGroup[Tensor]):
    """A family of groups of square matrices, one for every n >= 1. Element: its matrix, real unless `element_kind` says
    complex (a real `dtype` then names the precision).

    A family states `_name`, the dimension of its algebra, and in `_rows` how many rows the matrices have beyond n.
    """

    _name = ""
    _rows = 0

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"n: {self._name}(n) needs n >= 1, given {n}")
        self.n = n
        self.name = f"{self._name}({n})"
        self.element_shape = (self.matrix_dim, self.matrix_dim)
        if self.acts_on_points:
            self.point_dim = n

    @property
    def matrix_dim(self) -> int:
        return self.n + self._rows

    def resolve_dtype(self, dtype: torch.dtype | None) -> torch.dtype:
        """The dtype of elements asked for with this argument."""
        return complex_dtype(dtype) if self.element_kind == "complex" else dtype or torch.get_default_dtype()

    def identity(self, batch: Batch = (), *, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
        eye = torch.eye(self.matrix_dim, dtype=self.resolve_dtype(dtype), device=device)
        return eye.expand(*as_batch(batch), *eye.shape).clone()

    def compose(self, g: Tensor, h: Tensor) -> Tensor:
        return g @ h

    def matrix(self, g: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        return g if dtype is None else g.to(self.resolve_dtype(dtype))

    def point_matrix(self, g: Tensor, n: int | None = None, dtype: torch.dtype | None = None) -> Tensor:
        if not self.acts_on_points:
            return super().point_matrix(g, n, dtype)
        return self.matrix(g, dtype)[..., : self.n, : self.n]
