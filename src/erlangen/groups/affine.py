"""Groups with translations, as homogeneous matrices."""

import math

import torch
from torch import Tensor

from erlangen.groups.base import Batch, Device, MatrixGroup, Sampler
from erlangen.groups.elements import as_batch, draw_normal
from erlangen.groups.orthogonal import SO, O, antisymmetric_basis


def homogeneous(linear: Tensor, shift: Tensor) -> Tensor:
    """[[A, t], [0, 1]] from `[*B, n, n]` and `[*B, n]`."""
    batch = torch.broadcast_shapes(linear.shape[:-2], shift.shape[:-1])
    n = shift.shape[-1]
    out = linear.new_zeros(*batch, n + 1, n + 1)
    out[..., :n, :n] = linear
    out[..., :n, n] = shift
    out[..., n, n] = 1.0
    return out


class Euclidean(MatrixGroup):
    """What SE(n), E(n) and T(n) share: x -> A x + t with A from an orthogonal group, as `[n+1, n+1]` matrices.

    Translations are drawn from a Gaussian of standard deviation `radius` (default 1); the distance
    sqrt(d(A, A')² + ‖t - t'‖²) is left-invariant.
    """

    acts_on_points = True
    is_compact = False
    _rows = 1

    @property
    def linear(self) -> SO | None:
        """The orthogonal group of the linear parts; None for pure translations."""
        return None

    def inverse(self, g: Tensor) -> Tensor:
        back = g[..., : self.n, : self.n].mT
        return homogeneous(back, -(back @ g[..., : self.n, self.n, None])[..., 0])

    def _draw(
        self,
        batch: Batch,
        linear: Tensor | None,
        radius: float | int | None,
        generator: torch.Generator | None,
        device: Device,
    ) -> Tensor:
        shift = (1.0 if radius is None else radius) * draw_normal((*as_batch(batch), self.n), generator, device)
        if linear is None:
            linear = torch.eye(self.n, dtype=torch.float64, device=shift.device)
        return homogeneous(linear, shift)

    def sample(
        self,
        batch: Batch = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
        radius: float | int | None = None,
    ) -> Tensor:
        linear = None
        if self.linear is not None:
            linear = self.linear.sample(batch, generator=generator, dtype=torch.float64, device=device)
        return self._draw(batch, linear, radius, generator, device).to(dtype or torch.get_default_dtype())

    def log_prob(self, g: Tensor, *, radius: float | int | None = None) -> Tensor:
        scale = 1.0 if radius is None else radius
        shift = g[..., : self.n, self.n] / scale
        return -shift.square().sum(-1) / 2 - self.n * (math.log(scale) + math.log(2 * math.pi) / 2)

    def point_translation(self, g: Tensor, dtype: torch.dtype | None = None) -> Tensor | None:
        return self.matrix(g, dtype)[..., : self.n, self.n]

    def algebra_basis(self, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
        """Rotations first, then translations along the axes."""
        shifts = torch.zeros(self.n, self.n + 1, self.n + 1, dtype=dtype or torch.get_default_dtype(), device=device)
        shifts[torch.arange(self.n), torch.arange(self.n), self.n] = 1.0
        if self.linear is None:
            return shifts
        turns = antisymmetric_basis(self.n, dtype, device)
        return torch.cat([torch.nn.functional.pad(turns, (0, 1, 0, 1)), shifts])

    def log(self, g: Tensor) -> Tensor:
        """Rotation coordinates, then translation coordinates; the cut locus is that of SO(n)."""
        shift = g[..., : self.n, self.n]
        if self.linear is None:
            return shift
        turn = self.linear.log(g[..., : self.n, : self.n])
        w = self.linear.hat(turn)
        # exp of [[W, I], [0, 0]] holds J = sum W^k / (k + 1)! in its corner, and t = J rho.
        block = torch.zeros(*w.shape[:-2], 2 * self.n, 2 * self.n, dtype=w.dtype, device=w.device)
        block[..., : self.n, : self.n] = w
        block[..., : self.n, self.n :] = torch.eye(self.n, dtype=w.dtype, device=w.device)
        jacobian = torch.linalg.matrix_exp(block)[..., : self.n, self.n :]
        rho = torch.linalg.solve(jacobian, shift[..., None])[..., 0]
        return torch.cat([turn, rho], -1)

    def discrete_generators(self) -> list[Tensor]:
        if self.linear is None:
            return []
        zero = torch.zeros(self.n, dtype=torch.float64)
        return [homogeneous(r, zero) for r in self.linear.discrete_generators()]

    def distance(self, g: Tensor, h: Tensor) -> Tensor:
        squared = (g[..., : self.n, self.n] - h[..., : self.n, self.n]).square().sum(-1)
        if self.linear is not None:
            squared = squared + self.linear.distance(self.point_matrix(g), self.point_matrix(h)).square()
        return squared.sqrt()

    def contains(self, g: Tensor, atol: float = 1e-5) -> Tensor:
        last = torch.zeros(self.n + 1, dtype=g.dtype, device=g.device)
        last[-1] = 1.0
        ok = (g[..., -1, :] - last).abs().amax(-1) <= atol
        if self.linear is None:
            eye = torch.eye(self.n, dtype=g.dtype, device=g.device)
            return ok & ((self.point_matrix(g) - eye).abs().amax((-2, -1)) <= atol)
        return ok & self.linear.contains(self.point_matrix(g), atol)

    def project(self, m: Tensor) -> Tensor:
        shift = m[..., : self.n, self.n]
        if self.linear is None:
            return homogeneous(torch.eye(self.n, dtype=m.dtype, device=m.device), shift)
        return homogeneous(self.linear.project(m[..., : self.n, : self.n]), shift)

    def parts(self) -> dict[str, Sampler]:
        out: dict[str, Sampler] = {}
        for name, sampler in (self.linear.parts() if self.linear is not None else {}).items():
            out[name] = self._linear_sampler(sampler)
        out["translations"] = Translation.sample.__get__(Translation(self.n))
        return out

    def _linear_sampler(self, sampler: Sampler) -> Sampler:
        def draw(
            batch: Batch = (),
            *,
            generator: torch.Generator | None = None,
            dtype: torch.dtype | None = None,
            device: Device = None,
            radius: float | int | None = None,
        ) -> Tensor:
            linear = sampler(batch, generator=generator, dtype=dtype, device=device)
            return homogeneous(linear, linear.new_zeros(self.n))

        return draw

    def label(self, g: Tensor) -> str:
        size = f"shift {float(g[..., : self.n, self.n].norm()):.3g}"
        if self.linear is None:
            return f"shift ({', '.join(f'{float(t):.3g}' for t in g[: self.n, self.n])})"
        turn = self.linear.label(self.point_matrix(g))
        return f"{turn if turn.startswith(('rotation', 'flip')) else 'rotation ' + turn}, {size}"


class SE(Euclidean):
    """SE(n): rotations and translations of R^n."""

    is_connected = True
    _name = "SE"

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.dim = n * (n + 1) // 2

    @property
    def linear(self) -> SO | None:
        return SO(self.n)


class E(Euclidean):
    """E(n): rotations, reflections and translations of R^n."""

    _name = "E"

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.dim = n * (n + 1) // 2

    @property
    def linear(self) -> SO | None:
        return O(self.n)


class Translation(Euclidean):
    """T(n): translations of R^n; on images in units of pixels, x to the right and y up."""

    is_abelian = True
    is_connected = True
    _name = "T"

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.dim = n

    def exp(self, v: Tensor) -> Tensor:
        return homogeneous(torch.eye(self.n, dtype=v.dtype, device=v.device), v)
