"""U(n) and SU(n): unitary matrices, and those of determinant one."""

import math

import torch
from torch import Tensor

from erlangen.groups.base import Batch, Device, MatrixGroup, Sampler
from erlangen.groups.elements import as_batch, complex_dtype, draw_normal
from erlangen.groups.linear import helmert


def haar_unitary(batch: tuple[int, ...], n: int, generator: torch.Generator | None, device: Device) -> Tensor:
    """Haar-distributed unitary matrices in complex128: QR of a complex Gaussian matrix, with the phases of R's
    diagonal moved into Q.

    F. Mezzadri, "How to generate random matrices from the classical compact groups", 2007, arXiv:math-ph/0609050.
    """
    parts = draw_normal((*batch, n, n, 2), generator, device)
    q, r = torch.linalg.qr(torch.view_as_complex(parts))
    return q * torch.sgn(torch.diagonal(r, dim1=-2, dim2=-1))[..., None, :]


def antihermitian_basis(
    n: int, *, traceless: bool = False, dtype: torch.dtype | None = None, device: Device = None
) -> Tensor:
    """An orthogonal basis of u(n) or su(n), every element of squared Frobenius norm 1/2, `[count, n, n]`.

    For SU(2) it is -i/2 times the Pauli matrices in the order z, x, y; for SU(3) -i/2 times the Gell-Mann matrices.
    Diagonal ones first.
    """
    rows = helmert(n) if traceless else torch.eye(n, dtype=torch.float64)
    pieces = [torch.diag_embed(rows).to(torch.complex128) * (-1j / math.sqrt(2))]
    for i in range(n):
        for j in range(i + 1, n):
            pair = torch.zeros(2, n, n, dtype=torch.complex128)
            pair[0, [i, j], [j, i]] = torch.tensor(-0.5j, dtype=torch.complex128)
            pair[1, i, j], pair[1, j, i] = -0.5, 0.5
            pieces.append(pair)
    return torch.cat(pieces).to(dtype=complex_dtype(dtype), device=device)


def unitary_angles(g: Tensor) -> tuple[Tensor, Tensor]:
    """Angles in (-π, π], ascending but for wrapping, and orthonormal eigenvectors of unitary matrices.

    A phase turns the widest gap between the eigenvalues to -1; the Cayley transform i (I - z g) (I + z g)⁻¹ is then
    Hermitian and well conditioned, and its eigenvectors are orthonormal even where angles coincide.
    """
    n = g.shape[-1]
    found = torch.linalg.eigvals(g.detach()).angle().sort(-1).values
    gaps = torch.cat([found[..., 1:] - found[..., :-1], found[..., :1] + 2 * math.pi - found[..., -1:]], -1)
    widest = gaps.argmax(-1, keepdim=True)
    middle = (torch.gather(found, -1, widest) + torch.gather(gaps, -1, widest) / 2)[..., 0]
    turn = math.pi - middle
    turned = g * torch.polar(torch.ones_like(turn), turn)[..., None, None]
    eye = torch.eye(n, dtype=g.dtype, device=g.device)
    cayley = 1j * torch.linalg.solve(eye + turned, eye - turned)
    tangents, vectors = torch.linalg.eigh((cayley + cayley.mH) / 2)
    angles = 2 * torch.atan(tangents) - turn[..., None]
    return math.pi - torch.remainder(math.pi - angles, 2 * math.pi), vectors


class U(MatrixGroup):
    """U(n): unitary matrices. Element: complex `[n, n]`, Haar-distributed; a real `dtype` names the precision.

    `distance` is the bi-invariant geodesic one, the root of the sum of the squared eigenvalue angles of g⁻¹h.
    """

    is_connected = True
    element_kind = "complex"
    _name = "U"
    _special = False

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.dim = n * n - int(self._special)
        self.is_abelian = n == 1

    def inverse(self, g: Tensor) -> Tensor:
        return g.mH.contiguous()

    def sample(
        self,
        batch: Batch = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
        radius: float | int | None = None,
    ) -> Tensor:
        return haar_unitary(as_batch(batch), self.n, generator, device).to(complex_dtype(dtype))

    def algebra_basis(self, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
        return antihermitian_basis(self.n, traceless=self._special, dtype=dtype, device=device)

    def log(self, g: Tensor) -> Tensor:
        """A shortest logarithm; it exists everywhere. Cut locus, where it is one of several: an eigenvalue -1."""
        angles, vectors = unitary_angles(g)
        return self.vee((vectors * (1j * self._shortest(angles))[..., None, :]) @ vectors.mH)

    def _shortest(self, angles: Tensor) -> Tensor:
        return angles

    def distance(self, g: Tensor, h: Tensor) -> Tensor:
        return self._shortest(torch.linalg.eigvals(g.mH @ h).angle()).norm(dim=-1)

    def contains(self, g: Tensor, atol: float = 1e-5) -> Tensor:
        eye = torch.eye(self.n, dtype=g.dtype, device=g.device)
        return (g.mH @ g - eye).abs().amax((-2, -1)) <= atol

    def project(self, m: Tensor) -> Tensor:
        u, _, vh = torch.linalg.svd(m)
        return u @ vh

    def parts(self) -> dict[str, Sampler]:
        return {"unitary": self.sample}

    def label(self, g: Tensor) -> str:
        angles = torch.linalg.eigvals(g).angle().sort().values
        return f"angles {', '.join(f'{math.degrees(float(a)):.3g}°' for a in angles)}"


class SU(U):
    """SU(n): unitary matrices of determinant one. Element: complex `[n, n]`; Haar by dividing one column of a Haar
    unitary matrix by the determinant."""

    _name = "SU"
    _special = True

    def sample(
        self,
        batch: Batch = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
        radius: float | int | None = None,
    ) -> Tensor:
        u = haar_unitary(as_batch(batch), self.n, generator, device)
        first = u[..., :1] * torch.linalg.det(u).conj()[..., None, None]
        return torch.cat([first, u[..., 1:]], -1).to(complex_dtype(dtype))

    def log(self, g: Tensor) -> Tensor:
        """A shortest logarithm in su(n): where the principal angles add up to 2 π k, the k largest ones lose a turn.
        Cut locus, where it is one of several: for SU(2) -1, beyond also ties between the angles that lose a turn."""
        return super().log(g)

    def _shortest(self, angles: Tensor) -> Tensor:
        turns = torch.round(angles.sum(-1, keepdim=True) / (2 * math.pi))
        rank = torch.argsort(torch.argsort(angles, dim=-1), dim=-1)
        high = (rank >= self.n - turns).to(angles.dtype)
        low = (rank < -turns).to(angles.dtype)
        return angles - 2 * math.pi * (high - low)

    def contains(self, g: Tensor, atol: float = 1e-5) -> Tensor:
        return super().contains(g, atol) & ((torch.linalg.det(g) - 1).abs() <= self.n * atol)

    def project(self, m: Tensor) -> Tensor:
        """The unitary polar factor with its determinant's phase divided out evenly."""
        u = super().project(m)
        phase = torch.linalg.det(u).angle() / self.n
        return u * torch.polar(torch.ones_like(phase), -phase)[..., None, None]

    def parts(self) -> dict[str, Sampler]:
        return {"special unitary": self.sample}
