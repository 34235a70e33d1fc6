"""Lie groups: an algebra in coordinates, and the exponential map from it."""

import math
from abc import abstractmethod

import torch
from torch import Tensor

from erlangen.groups.base.group import Device, Element, Generators, Group
from erlangen.groups.elements import map_elem


class LieGroup(Group[Element]):
    """A group of matrices with an exponential map; algebra elements are coordinates `[*B, dim]`."""

    @abstractmethod
    def algebra_basis(self, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
        """A basis of the Lie algebra, `[dim, matrix_dim, matrix_dim]`."""

    @abstractmethod
    def log(self, g: Element) -> Tensor:
        """Coordinates v with exp(v) = g; raises `GroupLogError` where there is none or it is not unique."""

    def discrete_generators(self) -> list[Element]:
        """One element of every other connected component that generates the rest (a reflection of O(n))."""
        return []

    def generators(self) -> Generators:
        return Generators(self.algebra_basis(torch.float64), self.discrete_generators())

    def hat(self, v: Tensor) -> Tensor:
        """Coordinates -> matrix of the Lie algebra."""
        basis = self.algebra_basis(v.dtype, v.device)
        return torch.einsum("...k,kij->...ij", v.to(basis.dtype), basis)

    def vee(self, m: Tensor) -> Tensor:
        """Matrix of the Lie algebra -> coordinates; the inverse of `hat`."""
        basis = self.algebra_basis(m.dtype, m.device)
        norms = basis.abs().square().sum((-2, -1))
        along = torch.einsum("...ij,kij->...k", m.to(basis.dtype), basis.conj())
        return (along.real if along.is_complex() else along) / norms

    def bracket(self, v: Tensor, w: Tensor) -> Tensor:
        a, b = self.hat(v), self.hat(w)
        return self.vee(a @ b - b @ a)

    def exp(self, v: Tensor) -> Element:
        """The exponential map, `[*B, dim]` -> elements."""
        if v.shape[-1] != self.dim:
            raise ValueError(f"v: {self.name} has {self.dim} algebra coordinates, given {v.shape[-1]}")
        return torch.linalg.matrix_exp(self.hat(v))

    def adjoint_matrix(self, g: Element) -> Tensor:
        """v -> vee(g hat(v) g^-1), `[*B, dim, dim]`."""
        m = self.matrix(g)[..., None, :, :]
        moved = m @ self.algebra_basis(m.dtype, m.device) @ self.matrix(self.inverse(g))[..., None, :, :]
        return self.vee(moved).mT

    def modular(self, g: Element) -> Tensor:
        """Δ(g) = 1 / |det Ad(g)|, the factor in μ(A g) = Δ(g) μ(A) for a left Haar measure μ; 1 if unimodular, `[*B]`."""
        return 1 / torch.linalg.det(self.adjoint_matrix(g)).abs()

    def grid(self, num: int) -> Element:
        """Identity, the discrete generators, then elements of the one-parameter subgroups in turn."""
        start = [self.identity(dtype=torch.float64), *self.discrete_generators()][:num]
        count = num - len(start)
        v = torch.zeros(count, self.dim, dtype=torch.float64)
        for j in range(count):
            v[j, j % self.dim] = math.pi * (j + 1) / (count + 1)
        first = map_elem(lambda *e: torch.stack(e), *start)
        if count == 0:
            return first
        return map_elem(lambda a, b: torch.cat([a, b.to(a)]), first, self.exp(v))
