"""A normalising flow along the gradient of an invariant potential: its density is exactly as invariant."""

import math
from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from erlangen._registry import modules
from erlangen.groups.eigenphases import eigenphases, from_eigenphases, phases_of
from erlangen.groups.manifolds import Manifold, SpecialUnitary, Sphere, Torus
from erlangen.groups.symmetry import Case, Symmetry
from erlangen.nn.flows.class_function_potential import ClassFunctionPotential
from erlangen.nn.flows.potential import Potential
from erlangen.nn.flows.ridge_potential import RidgePotential
from erlangen.nn.flows.symmetrized_potential import SymmetrizedPotential
from erlangen.nn.flows.zonal_potential import ZonalPotential

Rates = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@runtime_checkable
class Base(Protocol):
    """A density on the manifold, with respect to the uniform probability measure."""

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor: ...

    def log_prob(self, x: Tensor) -> Tensor: ...


def _sphere_cases() -> list[Case]:
    """Flows on the sphere; conjugation of complex matrices is proved by the flow's own tests."""
    x = Sphere(2).sample((5,), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tilted = torch.tensor([1.0, 2.0, 2.0])
    quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turns = torch.stack([torch.linalg.matrix_power(quarter, k) for k in range(4)])
    potentials = {
        "zonal": ZonalPotential(tilted, 8),
        "four-fold": SymmetrizedPotential(RidgePotential(2, 8), turns),
    }
    return [Case(EquivariantManifoldFlow(Sphere(2), _awake(p), steps=4), (x,), name) for name, p in potentials.items()]


def _awake(potential: Potential) -> Potential:
    """A potential whose coefficients are not zero, so that a check has something to see."""
    with torch.no_grad():
        for parameter in potential.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return potential


@modules.register("equivariant_manifold_flow", paper="arXiv:2107.08596", cases=_sphere_cases)
class EquivariantManifoldFlow(nn.Module):
    """A density on a compact manifold, pushed from `base` along ẋ = ∇_M φ_t(x), 0 ≤ t ≤ 1.

    d log p / dt = -Δ_M φ_t along the flow, so log p(y) = log base(x) - ∫ Δ_M φ_t dt. Where φ_t and the base are invariant
    under isometries, so is the density. Calling the module gives `log_prob`; densities are with respect to the uniform
    probability measure of the manifold (normalised Haar measure on SU(n)), so the uniform base has log-density 0.

    On SU(n) with a `ClassFunctionPotential` trajectory and density live on the torus of eigenphases and eigenvectors do
    not move; everywhere else points are integrated in ambient coordinates and projected back after every step.

    I. Katsman, A. Lou, D. Lim, Q. Jiang, S.-N. Lim, C. De Sa, "Equivariant Manifold Flows", 2021, arXiv:2107.08596. The
    published code takes a few Euler steps, which do not invert, and adds the eigenphases' Vandermonde factor to the
    density of uniform matrices, which is constant.

    Args:
        manifold: `Sphere(d)`, `Torus(n)`, `SpecialUnitary(n)` or `SpecialOrthogonal(n)`.
        potential: φ_t, invariant under the group that matters.
        base: an object with `sample(n, generator)` and `log_prob(x)`; None is the uniform density.
        solver: "rk4", or "euler" for comparison.
        steps: number of steps; the inverse takes the same ones backwards.
        project: move inputs that are off the manifold onto it instead of refusing them.

    Raises ValueError for an unknown solver, `steps` below 1, and points off the manifold.
    """

    def __init__(
        self,
        manifold: Manifold,
        potential: Potential,
        base: Base | None = None,
        *,
        solver: Literal["rk4", "euler"] = "rk4",
        steps: int = 20,
        project: bool = False,
    ) -> None:
        super().__init__()
        if solver not in ("rk4", "euler"):
            raise ValueError(f"solver: {solver!r}; allowed: 'rk4', 'euler'")
        if steps < 1:
            raise ValueError(f"steps: {steps}; at least 1")
        self.manifold, self.potential, self.base = manifold, potential, base
        self.solver, self.steps, self.project = solver, steps, project
        self.on_phases = isinstance(manifold, SpecialUnitary) and isinstance(potential, ClassFunctionPotential)
        if self.on_phases and manifold.n != potential.n:  # type: ignore[attr-defined]
            raise ValueError(f"potential: for SU({potential.n}), but the manifold is {manifold.name}")

    @property
    def symmetries(self) -> list[Symmetry]:
        """Invariance of the log-density: under conjugation, rotations about the axis, or the finite group."""
        potential, manifold = self.potential, self.manifold
        if self.base is not None:
            return []
        if self.on_phases:
            return [Symmetry.from_functions(_draw(manifold), _conjugate, _keep, name="conjugation by SU(n)")]
        if isinstance(potential, ZonalPotential) and isinstance(manifold, Sphere):
            return [Symmetry.from_functions(_draw_turn(potential.axis), _turn, _keep, name="rotations about the axis")]
        if isinstance(potential, SymmetrizedPotential) and isinstance(manifold, Sphere):
            return [Symmetry.from_functions(_draw_element(potential.matrices), _turn, _keep, name="the finite group")]
        return []

    # --- the flow -------------------------------------------------------------------------------------------------

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Base points to points of the density, and log|det| of the map, `[*batch, *shape]` and `[*batch]`."""
        return self._move(x, backwards=False)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Points of the density back to base points, and log|det| of that map."""
        return self._move(y, backwards=True)

    def log_prob(self, x: Tensor) -> Tensor:
        """log-density with respect to the uniform probability measure, `[*batch]`."""
        x = self._accept(x)
        if self.on_phases and self.base is None:
            return self.phase_log_prob(eigenphases(x)[0])
        start, change = self.inverse(x)
        return change if self.base is None else self.base.log_prob(start) + change

    def forward(self, x: Tensor) -> Tensor:
        return self.log_prob(x)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """`n` independent points, differentiable with respect to the parameters."""
        return self.sample_with_log_prob(n, generator)[0]

    def sample_with_log_prob(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """`n` points and their log-densities, at the cost of one integration."""
        start = self._start(n, generator)
        points, change = self.transform(start)
        return points, (0 if self.base is None else self.base.log_prob(start)) - change

    def _start(self, n: int, generator: torch.Generator | None) -> Tensor:
        if n < 0:
            raise ValueError(f"n: {n}; at least 0")
        if self.base is not None:
            return self.base.sample(n, generator)
        parameter = next(self.potential.parameters())
        return self.manifold.sample((n,), generator=generator, dtype=parameter.dtype, device=parameter.device)

    # --- SU(n) on phases ------------------------------------------------------------------------------------------

    def phase_log_prob(self, phases: Tensor) -> Tensor:
        """log-density, with respect to Haar measure, at matrices with these eigenphases, `[*batch, n] -> [*batch]`."""
        return self._integrate(self._rates(), phases, backwards=True)[1]

    def sample_phases(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Eigenphases of samples and the log-density there: all that training on a class function needs."""
        if not self.on_phases or self.base is not None:
            raise ValueError("sample_phases: needs SpecialUnitary, a ClassFunctionPotential and the uniform base")
        phases, change = self._integrate(self._rates(), phases_of(self._start(n, generator)), backwards=False)
        return phases, -change

    # --- integration ----------------------------------------------------------------------------------------------

    def _accept(self, x: Tensor) -> Tensor:
        wide = {torch.float16: torch.float32, torch.bfloat16: torch.float32, torch.complex32: torch.complex64}
        x = x.to(wide.get(x.dtype, x.dtype))
        if isinstance(self.manifold, SpecialUnitary) != x.is_complex():
            raise ValueError(
                f"x: {x.dtype}; points of {self.manifold.name} are {'complex' if not x.is_complex() else 'real'}"
            )
        return self.manifold.project(x) if self.project else self.manifold.check(x)

    def _rates(self) -> Rates:
        if self.on_phases:
            return self.potential.radial  # type: ignore[return-value]
        return lambda t, x: self.potential.field_and_divergence(self.manifold, t, x)

    def _move(self, x: Tensor, *, backwards: bool) -> tuple[Tensor, Tensor]:
        x = self._accept(x)
        if not self.on_phases:
            return self._integrate(self._rates(), x, backwards=backwards)
        phases, vectors = eigenphases(x)
        moved, change = self._integrate(self._rates(), phases, backwards=backwards)
        return from_eigenphases(moved, vectors), change

    def _integrate(self, rates: Rates, x: Tensor, *, backwards: bool) -> tuple[Tensor, Tensor]:
        step = (-1.0 if backwards else 1.0) / self.steps
        real = x.real.dtype if x.is_complex() else x.dtype
        change = torch.zeros(x.shape[: x.ndim - (1 if self.on_phases else len(self.manifold.shape))], dtype=real).to(
            x.device
        )
        for index in range(self.steps):
            t = torch.tensor((1.0 if backwards else 0.0) + index * step, dtype=real, device=x.device)
            x, gained = self._step(rates, t, x, step)
            change = change + gained
            if not self.on_phases and not self._flat:
                x = self.manifold.retract(x)
        return x, change

    @property
    def _flat(self) -> bool:
        return isinstance(self.manifold, Torus)

    def _step(self, rates: Rates, t: Tensor, x: Tensor, step: float) -> tuple[Tensor, Tensor]:
        v1, d1 = rates(t, x)
        if self.solver == "euler":
            return x + step * v1, step * d1
        half = step / 2
        v2, d2 = rates(t + half, self._near(x + half * v1))
        v3, d3 = rates(t + half, self._near(x + half * v2))
        v4, d4 = rates(t + step, self._near(x + step * v3))
        return x + step / 6 * (v1 + 2 * (v2 + v3) + v4), step / 6 * (d1 + 2 * (d2 + d3) + d4)

    def _near(self, x: Tensor) -> Tensor:
        """Stage points of the ambient solver, brought back so that the field is asked where it is defined."""
        return x if self.on_phases or self._flat else self.manifold.retract(x)

    def extra_repr(self) -> str:
        return f"{self.manifold.name}, solver={self.solver!r}, steps={self.steps}"


def _draw(manifold: Manifold) -> Callable[..., Tensor]:
    def sample(generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        return manifold.sample((), generator=generator, dtype=dtype)

    return sample


def _conjugate(g: Tensor, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (g @ args[0] @ g.mH,)


def _keep(g: Tensor, out: Any) -> Any:
    return out


def _draw_turn(axis: Tensor) -> Callable[..., Tensor]:
    def sample(generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        """exp of a random skew matrix that maps the axis to 0."""
        e = axis.to(generator.device)
        drawn = torch.randn(len(e), len(e), dtype=e.dtype, device=e.device, generator=generator) * math.pi
        flat = torch.eye(len(e), dtype=e.dtype, device=e.device) - e[:, None] * e
        skew = flat @ (drawn - drawn.mT) @ flat
        return torch.linalg.matrix_exp(skew).to(dtype)

    return sample


def _draw_element(matrices: Tensor) -> Callable[..., Tensor]:
    def sample(generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        index = torch.randint(len(matrices), (), generator=generator)
        return matrices[index.to(matrices.device)].to(dtype)

    return sample


def _turn(g: Tensor, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (args[0] @ g.mT,)
