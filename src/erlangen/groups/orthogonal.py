"""SO(n) and O(n): rotations of R^n, with and without reflections, as matrices."""

import math

import torch
from torch import Tensor

from erlangen.groups.base import Batch, Device, GroupLogError, MatrixGroup, Sampler
from erlangen.groups.elements import as_batch, draw_normal, plane_rotation


def haar_orthogonal(batch: tuple[int, ...], n: int, generator: torch.Generator | None, device: Device) -> Tensor:
    """Haar-distributed orthogonal matrices in float64 (QR of a Gaussian matrix, signs fixed by the diagonal of R).

    F. Mezzadri, "How to generate random matrices from the classical compact groups", 2007, arXiv:math-ph/0609050.
    """
    q, r = torch.linalg.qr(draw_normal((*batch, n, n), generator, device))
    return q * torch.sign(torch.diagonal(r, dim1=-2, dim2=-1))[..., None, :]


def to_special(q: Tensor) -> Tensor:
    """Flip the first column where the determinant is negative."""
    first = q[..., :1] * torch.sign(torch.linalg.det(q))[..., None, None]
    return torch.cat([first, q[..., 1:]], -1)


def antisymmetric_basis(n: int, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
    """Generators of so(n), `[n(n-1)/2, n, n]`; for n = 3 turns about x, y, z in this order, for n = 2 the left turn."""
    pairs = [(2, 1), (0, 2), (1, 0)] if n == 3 else [(j, i) for i in range(n) for j in range(i + 1, n)]
    basis = torch.zeros(len(pairs), n, n, dtype=dtype or torch.get_default_dtype(), device=device)
    for k, (i, j) in enumerate(pairs):
        basis[k, i, j], basis[k, j, i] = 1.0, -1.0
    return basis


def rotation_log_3d(m: Tensor) -> Tensor:
    """Rotation vectors of rotation matrices, `[*B, 3, 3]` -> `[*B, 3]`; at half a turn either sign of the axis."""
    sine_axis = torch.stack([m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], -1)
    sine = sine_axis.norm(dim=-1) / 2
    cosine = (torch.diagonal(m, dim1=-2, dim2=-1).sum(-1) - 1) / 2
    angle = torch.atan2(sine, cosine)
    small = sine < 1e-7
    factor = torch.where(small, torch.ones_like(angle), angle / torch.where(small, torch.ones_like(sine), sine))
    vector = factor[..., None] * sine_axis / 2
    # Near half a turn the antisymmetric part vanishes; the axis is then the largest column of (m + m^T) / 2 - cos I.
    near_half = (cosine < -0.99)[..., None]
    eye = torch.eye(3, dtype=m.dtype, device=m.device)
    outer = (m + m.mT) / 2 - cosine[..., None, None] * eye
    column = torch.diagonal(outer, dim1=-2, dim2=-1).argmax(-1)
    axis = torch.gather(outer, -1, column[..., None, None].expand(*outer.shape[:-1], 1))[..., 0]
    axis = axis / axis.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(m.dtype).tiny)
    along = (axis * sine_axis).sum(-1, keepdim=True)
    axis = torch.where(along < 0, -axis, axis)
    return torch.where(near_half, angle[..., None] * axis, vector)


def rotation_angle(m: Tensor) -> Tensor:
    """Geodesic length of a rotation: the angle for n <= 3, the root of the sum of its squared plane angles beyond."""
    n = m.shape[-1]
    if n == 1:
        return torch.zeros(m.shape[:-2], dtype=m.dtype, device=m.device)
    if n == 2:
        return torch.atan2(m[..., 1, 0] - m[..., 0, 1], m[..., 0, 0] + m[..., 1, 1]).abs()
    if n == 3:
        sine = (m - m.mT).flatten(-2).norm(dim=-1) / (2 * math.sqrt(2))
        return torch.atan2(sine, (torch.diagonal(m, dim1=-2, dim2=-1).sum(-1) - 1) / 2)
    angles = torch.linalg.eigvals(m).angle()
    return (angles.square().sum(-1) / 2).sqrt()


class SO(MatrixGroup):
    """SO(n): rotations of R^n. Element: `[n, n]`. Sampled from Haar measure; distance is the rotation angle."""

    acts_on_points = True
    is_connected = True
    _name = "SO"

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.dim = n * (n - 1) // 2
        self.is_abelian = n <= 2

    def inverse(self, g: Tensor) -> Tensor:
        return g.mT

    def sample(
        self,
        batch: Batch = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
        radius: float | int | None = None,
    ) -> Tensor:
        q = haar_orthogonal(as_batch(batch), self.n, generator, device)
        return to_special(q).to(dtype or torch.get_default_dtype())

    def algebra_basis(self, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
        return antisymmetric_basis(self.n, dtype, device)

    def exp(self, v: Tensor) -> Tensor:
        if self.n == 2 and v.shape[-1] == 1:
            return plane_rotation(v[..., 0])
        return super().exp(v)

    def log(self, g: Tensor) -> Tensor:
        """Rotation vector. Cut locus: half a turn in any plane; n <= 3 returns one of the logarithms there,
        n > 3 raises `GroupLogError`."""
        if self.n == 2:
            return torch.atan2(g[..., 1, 0] - g[..., 0, 1], g[..., 0, 0] + g[..., 1, 1])[..., None]
        if self.n == 3:
            return rotation_log_3d(g)
        values, vectors = torch.linalg.eig(g)
        # nearer than this the two eigenvectors of the plane can no longer be told apart
        if bool((values.real < -1 + 1e4 * torch.finfo(g.dtype).eps).any()):
            raise GroupLogError(f"g: a rotation of {self.name} by half a turn has no unique logarithm")
        logs = torch.diag_embed(torch.complex(torch.zeros_like(values.real), values.angle()))
        return self.vee((vectors @ logs @ torch.linalg.inv(vectors)).real)

    def distance(self, g: Tensor, h: Tensor) -> Tensor:
        return rotation_angle(g.mT @ h)

    def contains(self, g: Tensor, atol: float = 1e-5) -> Tensor:
        eye = torch.eye(self.n, dtype=g.dtype, device=g.device)
        return ((g.mT @ g - eye).abs().amax((-2, -1)) <= atol) & (torch.linalg.det(g) > 0)

    def project(self, m: Tensor) -> Tensor:
        u, _, vh = torch.linalg.svd(m)
        sign = torch.sign(torch.linalg.det(u @ vh))
        last = u[..., -1:] * sign[..., None, None]
        return torch.cat([u[..., :-1], last], -1) @ vh

    def parts(self) -> dict[str, Sampler]:
        return {"rotations": self.sample}

    def grid(self, num: int) -> Tensor:
        if self.n != 2:
            return super().grid(num)
        return plane_rotation(torch.arange(num, dtype=torch.float64) * (2 * math.pi / num))

    def label(self, g: Tensor) -> str:
        if self.n == 2:
            return f"{math.degrees(float(self.log(g)[0])) % 360:.3g}°"
        return f"rotation {math.degrees(float(rotation_angle(g))):.3g}°"


class O(SO):  # noqa: E742
    """O(n): rotations and reflections of R^n. Element: `[n, n]`. Distance is ‖g - h‖_F, bi-invariant and finite."""

    is_connected = False
    _name = "O"

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.is_abelian = n == 1

    def sample(
        self,
        batch: Batch = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
        radius: float | int | None = None,
    ) -> Tensor:
        return haar_orthogonal(as_batch(batch), self.n, generator, device).to(dtype or torch.get_default_dtype())

    def log(self, g: Tensor) -> Tensor:
        """As SO(n); raises `GroupLogError` on reflections."""
        if bool((torch.linalg.det(g) < 0).any()):
            raise GroupLogError(f"g: an element of {self.name} with determinant -1 has no logarithm")
        return super().log(g)

    def discrete_generators(self) -> list[Tensor]:
        flip = torch.eye(self.n, dtype=torch.float64)
        flip[0, 0] = -1.0
        return [flip]

    def distance(self, g: Tensor, h: Tensor) -> Tensor:
        return (g - h).flatten(-2).norm(dim=-1)

    def contains(self, g: Tensor, atol: float = 1e-5) -> Tensor:
        eye = torch.eye(self.n, dtype=g.dtype, device=g.device)
        return (g.mT @ g - eye).abs().amax((-2, -1)) <= atol

    def project(self, m: Tensor) -> Tensor:
        u, _, vh = torch.linalg.svd(m)
        return u @ vh

    def parts(self) -> dict[str, Sampler]:
        return {"rotations": SO(self.n).sample, "reflections": self.sample_reflection}

    def sample_reflection(
        self,
        batch: Batch = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
        radius: float | int | None = None,
    ) -> Tensor:
        """Reflections in a hyperplane with uniform normal: I - 2 v v^T."""
        v = draw_normal((*as_batch(batch), self.n), generator, device)
        v = v / v.norm(dim=-1, keepdim=True)
        eye = torch.eye(self.n, dtype=torch.float64, device=v.device)
        return (eye - 2 * v[..., :, None] * v[..., None, :]).to(dtype or torch.get_default_dtype())

    def grid(self, num: int) -> Tensor:
        """O(2): half the list rotations, half reflections, each equally spaced; else as other Lie groups."""
        if self.n != 2 or num < 2:
            return super().grid(num)
        half = (num + 1) // 2
        rotations = SO(2).grid(half)
        flip = torch.diag(torch.tensor([-1.0, 1.0], dtype=torch.float64))
        return torch.cat([rotations, SO(2).grid(num - half) @ flip])

    def label(self, g: Tensor) -> str:
        if float(torch.linalg.det(g)) > 0:
            return super().label(g)
        flip = torch.ones(self.n, dtype=g.dtype, device=g.device)
        flip[0] = -1.0
        rest = SO.label(self, g * flip)
        return f"flip {rest}"
