"""Compact manifolds in coordinates: spheres, tori and SU(n), with tangent bases, projections and divergences."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from erlangen.groups.elements import complex_dtype, draw_normal
from erlangen.groups.unitary import antihermitian_basis, haar_unitary

Device = torch.device | str | None
Field = Callable[[Tensor], Tensor]


class Manifold(ABC):
    """A compact Riemannian manifold whose points are tensors `[*batch, *shape]`, tangent vectors alike.

    `dim` is its dimension, `shape` that of a point, `volume` its total volume. Densities on it are taken with respect
    to the uniform probability measure, so that the uniform density is 1.
    """

    name: str
    dim: int
    shape: tuple[int, ...]

    @property
    @abstractmethod
    def volume(self) -> float: ...

    @abstractmethod
    def sample(
        self,
        batch: Sequence[int] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        """Uniform points."""

    @abstractmethod
    def project(self, x: Tensor) -> Tensor:
        """The nearest point of the manifold."""

    def retract(self, x: Tensor) -> Tensor:
        """A point of the manifold near `x`, itself near it: `project` to high order, and differentiable."""
        return self.project(x)

    @abstractmethod
    def project_tangent(self, x: Tensor, v: Tensor) -> Tensor:
        """The orthogonal projection of an ambient vector onto the tangent space at `x`."""

    @abstractmethod
    def tangent_basis(self, x: Tensor) -> Tensor:
        """An orthonormal basis of the tangent space at `x`, `[*batch, dim, *shape]`."""

    @abstractmethod
    def off(self, x: Tensor) -> Tensor:
        """How far points are from the manifold, `[*batch]`."""

    def inner(self, v: Tensor, w: Tensor) -> Tensor:
        """⟨v, w⟩ of ambient vectors, `[*batch]`: Re tr v†w for matrices."""
        axes = tuple(range(-len(self.shape), 0))
        product = v.conj() * w
        return (product.real if product.is_complex() else product).sum(axes)

    def contains(self, x: Tensor, atol: float = 1e-5) -> Tensor:
        """Which points lie on the manifold, bool `[*batch]`; NaN does not."""
        return self.off(x) <= atol

    def check(self, x: Tensor, atol: float | None = None) -> Tensor:
        """`x`, once its shape is right and all of it lies on the manifold to `atol` (1e-4, in float64 1e-8).

        Raises ValueError otherwise; `project` brings points back.
        """
        if tuple(x.shape[x.ndim - len(self.shape) :]) != self.shape or x.ndim < len(self.shape):
            raise ValueError(f"x: shape {tuple(x.shape)}; points of {self.name} end in {self.shape}")
        allowed = atol if atol is not None else 1e-8 if x.dtype in (torch.float64, torch.complex128) else 1e-4
        worst = self.off(x).detach()
        if worst.numel() and not bool((worst <= allowed).all()):
            raise ValueError(
                f"x: {float(worst.max()):.1e} away from {self.name}, allowed {allowed:.0e}; project=True or "
                "manifold.project(x) brings points back"
            )
        return x

    def __repr__(self) -> str:
        return self.name


class Sphere(Manifold):
    """S^d, the unit vectors of R^{d+1}."""

    def __init__(self, dim: int) -> None:
        if dim < 1:
            raise ValueError(f"dim: a sphere has dimension at least 1, given {dim}")
        self.dim, self.shape, self.name = dim, (dim + 1,), f"Sphere({dim})"

    @property
    def volume(self) -> float:
        return 2 * math.pi ** ((self.dim + 1) / 2) / math.gamma((self.dim + 1) / 2)

    def sample(
        self,
        batch: Sequence[int] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        drawn = draw_normal((*batch, self.dim + 1), generator, device)
        return (drawn / drawn.norm(dim=-1, keepdim=True)).to(dtype or torch.get_default_dtype())

    def project(self, x: Tensor) -> Tensor:
        return x / x.norm(dim=-1, keepdim=True)

    def project_tangent(self, x: Tensor, v: Tensor) -> Tensor:
        return v - (x * v).sum(-1, keepdim=True) * x

    def tangent_basis(self, x: Tensor) -> Tensor:
        """Columns of the reflection that sends x to ± the last axis: smooth but for the sign."""
        sign = torch.where(x[..., -1:] < 0, -1.0, 1.0).to(x)
        pole = torch.zeros_like(x)
        pole[..., -1] = 1
        normal = x + sign * pole
        eye = torch.eye(self.dim + 1, dtype=x.dtype, device=x.device)
        outer = normal[..., :, None] * normal[..., None, :]
        return (eye - 2 * outer / normal.square().sum(-1)[..., None, None])[..., :-1, :]

    def off(self, x: Tensor) -> Tensor:
        return (x.norm(dim=-1) - 1).abs()


class Torus(Manifold):
    """The flat torus (R / 2πZ)^n in angles."""

    def __init__(self, dim: int) -> None:
        if dim < 1:
            raise ValueError(f"dim: a torus has dimension at least 1, given {dim}")
        self.dim, self.shape, self.name = dim, (dim,), f"Torus({dim})"

    @property
    def volume(self) -> float:
        return (2 * math.pi) ** self.dim

    def sample(
        self,
        batch: Sequence[int] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        if generator is not None:
            device = generator.device
        uniform = torch.rand((*batch, self.dim), generator=generator, dtype=torch.float64, device=device)
        return ((2 * uniform - 1) * math.pi).to(dtype or torch.get_default_dtype())

    def project(self, x: Tensor) -> Tensor:
        """The angles in [-π, π)."""
        return torch.remainder(x + math.pi, 2 * math.pi) - math.pi

    def project_tangent(self, x: Tensor, v: Tensor) -> Tensor:
        return v

    def tangent_basis(self, x: Tensor) -> Tensor:
        eye = torch.eye(self.dim, dtype=x.dtype, device=x.device)
        return eye.expand(*x.shape[:-1], self.dim, self.dim)

    def off(self, x: Tensor) -> Tensor:
        return torch.where(x.isfinite(), torch.zeros_like(x), torch.nan).sum(-1)


class SpecialUnitary(Manifold):
    """SU(n) with ⟨A, B⟩ = Re tr A†B: complex matrices `[n, n]`; tangent vectors at U are U times su(n)."""

    def __init__(self, n: int) -> None:
        if n < 2:
            raise ValueError(f"n: SU(n) as a manifold needs n >= 2, given {n}")
        self.n, self.dim, self.shape, self.name = n, n * n - 1, (n, n), f"SpecialUnitary({n})"

    @property
    def volume(self) -> float:
        """√n (2π)^{(n-1)(n+2)/2} / Π_{k<n} k!, for this metric (I. Macdonald, "The volume of a compact Lie group", 1980)."""
        factorials = math.prod(math.factorial(k) for k in range(1, self.n))
        return math.sqrt(self.n) * (2 * math.pi) ** ((self.n - 1) * (self.n + 2) / 2) / factorials

    def sample(
        self,
        batch: Sequence[int] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        g = haar_unitary(tuple(batch), self.n, generator, device)
        last = g[..., :, -1:] * torch.linalg.det(g).conj()[..., None, None]
        return torch.cat([g[..., :, :-1], last], -1).to(complex_dtype(dtype))

    def project(self, x: Tensor) -> Tensor:
        """The unitary polar factor, with its determinant's n-th root taken out."""
        left, _, right = torch.linalg.svd(x)
        g = left @ right
        return self._unit_determinant(g)

    def retract(self, x: Tensor) -> Tensor:
        """Three Newton steps X (3 - X†X) / 2 to the polar factor: an error e becomes e⁸, and no SVD is differentiated."""
        eye = torch.eye(self.n, dtype=x.dtype, device=x.device)
        for _ in range(3):
            x = x @ (3 * eye - x.mH @ x) / 2
        return self._unit_determinant(x)

    def _unit_determinant(self, g: Tensor) -> Tensor:
        turn = torch.linalg.det(g).angle() / self.n
        return g * torch.polar(torch.ones_like(turn), -turn)[..., None, None]

    def project_tangent(self, x: Tensor, v: Tensor) -> Tensor:
        inside = x.mH @ v
        skew = (inside - inside.mH) / 2
        trace = torch.diagonal(skew, dim1=-2, dim2=-1).mean(-1)
        eye = torch.eye(self.n, dtype=x.dtype, device=x.device)
        return x @ (skew - trace[..., None, None] * eye)

    def tangent_basis(self, x: Tensor) -> Tensor:
        """U E_k with the left-invariant E_k of unit length."""
        basis = antihermitian_basis(self.n, traceless=True, dtype=x.dtype, device=x.device) * math.sqrt(2)
        return x[..., None, :, :] @ basis

    def off(self, x: Tensor) -> Tensor:
        eye = torch.eye(self.n, dtype=x.dtype, device=x.device)
        unitary = (x.mH @ x - eye).abs().flatten(-2).amax(-1)
        return torch.maximum(unitary, (torch.linalg.det(x) - 1).abs())


def riemannian_divergence(
    manifold: Manifold,
    field: Field,
    x: Tensor,
    *,
    method: Literal["exact", "hutchinson"] = "exact",
    probes: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """div X = Σ_k ⟨∇_{e_k} X, e_k⟩ over an orthonormal tangent basis, `[*batch]`; differentiable in both senses.

    `field` maps points `[*batch, *shape]` to tangent vectors and treats batch entries separately. It may be defined
    near the manifold in any smooth way: derivatives are taken along it. "exact" takes `dim` forward-mode derivatives,
    "hutchinson" `probes` of them, along Gaussian tangent vectors: unbiased.

    Raises ValueError for an unknown method or `probes` below 1.
    """
    basis = manifold.tangent_basis(x)
    axis = x.ndim - len(manifold.shape)
    if method == "hutchinson":
        if probes < 1:
            raise ValueError(f"probes: {probes}; at least 1")
        draws = draw_normal((probes, *x.shape[:axis], manifold.dim), generator, x.device).to(basis.real.dtype)
        spread = draws.reshape(*draws.shape, *(1,) * len(manifold.shape))
        directions = (spread * basis).sum(axis + 1)
        scale = 1 / probes
    elif method == "exact":
        directions, scale = basis.movedim(axis, 0), 1.0
    else:
        raise ValueError(f"method: {method!r}; allowed: 'exact', 'hutchinson'")

    def along(direction: Tensor) -> Tensor:
        derivative = torch.func.jvp(field, (x,), (direction,))[1]
        return manifold.inner(direction, derivative)

    return scale * torch.func.vmap(along)(directions).sum(0)
