"""GL+(n) and SL(n): invertible matrices of positive determinant, and those of determinant one."""

import math
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.base import Batch, Device, GroupMembershipError, MatrixGroup, Sampler
from erlangen.groups.elements import as_batch, draw_normal
from erlangen.groups.matrix_log import principal_logarithm
from erlangen.groups.orthogonal import SO, antisymmetric_basis, haar_orthogonal, rotation_angle, to_special


def symmetric_basis(
    n: int, *, traceless: bool = False, dtype: torch.dtype | None = None, device: Device = None
) -> Tensor:
    """An orthogonal basis of the symmetric matrices, every element of squared Frobenius norm 2, `[count, n, n]`.

    Diagonal ones first: √2 E_ii, or without trace √2 times the rows of Helmert's matrix; then E_ij + E_ji.
    """
    diagonal = math.sqrt(2) * (helmert(n) if traceless else torch.eye(n, dtype=torch.float64))
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    rest = torch.zeros(len(pairs), n, n, dtype=torch.float64)
    for k, (i, j) in enumerate(pairs):
        rest[k, i, j] = rest[k, j, i] = 1.0
    basis = torch.cat([torch.diag_embed(diagonal), rest])
    return basis.to(dtype=dtype or torch.get_default_dtype(), device=device)


def helmert(n: int) -> Tensor:
    """Orthonormal rows that span the vectors of sum zero, `[n - 1, n]`, float64."""
    rows = torch.zeros(n - 1, n, dtype=torch.float64)
    for i in range(1, n):
        rows[i - 1, :i] = 1.0
        rows[i - 1, i] = -float(i)
    return rows / rows.norm(dim=-1, keepdim=True)


class GLPlus(MatrixGroup):
    """GL⁺(n): n x n matrices of positive determinant. Element: `[n, n]`.

    Drawn as exp(X) R with a Haar rotation R and a symmetric Gaussian X of standard deviation `radius` (default 0.5) in
    every direction of Frobenius length 1. The algebra's basis is orthogonal with squared norm 2: symmetric directions
    first, then turns, so that the coordinate of a plane rotation is its angle.

    There is no bi-invariant metric; `distance` is the length sqrt(‖log P‖² + angle(R)²) of g⁻¹h = P R, which is
    left-invariant and symmetric.
    """

    is_compact = False
    is_connected = True
    acts_on_points = True
    _name = "GL+"
    _traceless = False

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.dim = n * n - int(self._traceless)
        self.is_abelian = n == 1

    def inverse(self, g: Tensor) -> Tensor:
        return torch.linalg.inv(g)

    def sample(
        self,
        batch: Batch = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
        radius: float | int | None = None,
    ) -> Tensor:
        stretch = self.sample_stretch(batch, generator=generator, dtype=torch.float64, device=device, radius=radius)
        turn = to_special(haar_orthogonal(as_batch(batch), self.n, generator, device))
        return (stretch @ turn).to(dtype or torch.get_default_dtype())

    def sample_stretch(
        self,
        batch: Batch = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
        radius: float | int | None = None,
    ) -> Tensor:
        """The symmetric factor alone: exp(X)."""
        basis = symmetric_basis(self.n, traceless=self._traceless, dtype=torch.float64, device=device) / math.sqrt(2)
        normal = draw_normal((*as_batch(batch), len(basis)), generator, device)
        x = torch.einsum("...k,kij->...ij", normal * (0.5 if radius is None else radius), basis)
        return torch.linalg.matrix_exp(x).to(dtype or torch.get_default_dtype())

    def log_prob(self, g: Tensor, *, radius: float | int | None = None) -> Tensor:
        """Log-density of `sample` with respect to the Haar measure that is, for g = exp(X) R, the product of
        ∏_{i<j} sinh|x_i - x_j| / |x_i - x_j| dX (x the eigenvalues of X) and the probability Haar measure of R."""
        self.require_member(g)
        x = torch.linalg.svdvals(g).log()
        spread = 0.5 if radius is None else radius
        count = self.n * (self.n + 1) // 2 - int(self._traceless)
        gaussian = -x.square().sum(-1) / (2 * spread**2) - count * (math.log(spread) + math.log(2 * math.pi) / 2)
        i, j = torch.triu_indices(self.n, self.n, 1, device=g.device)
        gap = (x[..., i] - x[..., j]).abs()
        # sinh(d) / d = e^d (1 - e^{-2d}) / 2d, whose logarithm cannot overflow; its series near 0.
        safe = gap.clamp_min(1e-4)
        jacobian = torch.where(gap < 1e-4, gap.square() / 6, safe + torch.log(-torch.expm1(-2 * safe) / (2 * safe)))
        return gaussian - jacobian.sum(-1)

    def algebra_basis(self, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
        """Symmetric directions (see `symmetric_basis`), then turns."""
        symmetric = symmetric_basis(self.n, traceless=self._traceless, dtype=dtype, device=device)
        return torch.cat([symmetric, antisymmetric_basis(self.n, dtype, device)])

    def log(self, g: Tensor) -> Tensor:
        """The principal logarithm. Cut locus: matrices with an eigenvalue on the negative real axis, where a real
        logarithm is missing (diag(-2, -1/2)) or not unique (half a turn): `GroupLogError`. `coordinates` has none."""
        self.require_member(g)
        return self.vee(principal_logarithm(g, self.name))

    # --- polar coordinates, global ---------------------------------------------------------------------------------

    def factor(self, g: Tensor) -> Any:
        """The left polar factors of g = exp(X) R: the symmetric X and the rotation R."""
        from erlangen.groups import lie

        self.require_member(g)
        return lie.polar_factors(g)

    def coordinates(self, g: Tensor) -> Tensor:
        """Global coordinates `[*B, dim]` by the polar decomposition, defined for every element."""
        from erlangen.groups import lie

        self.require_member(g)
        return lie.polar_coordinates(g, traceless=self._traceless)

    def from_coordinates(self, v: Tensor) -> Tensor:
        """The inverse of `coordinates`."""
        from erlangen.groups import lie

        return lie.from_polar_coordinates(v, self.n, traceless=self._traceless)

    # --- membership ------------------------------------------------------------------------------------------------

    def require_member(self, g: Tensor) -> None:
        """Raises `GroupMembershipError` naming the first matrix that is not in the group."""
        inside = self.contains(g, 1e-3)
        if not bool(inside.all()):
            first = (~inside).nonzero()[0].tolist() if inside.ndim else []
            where = f" at index {tuple(first)}" if first else ""
            found = float(torch.linalg.det(g[tuple(first)] if first else g))
            raise GroupMembershipError(f"g: {self.name} needs {self._condition}, given {found:.3g}{where}")

    _condition = "det > 0"

    def contains(self, g: Tensor, atol: float = 1e-5) -> Tensor:
        g = g.to(torch.float64)
        if self.n == 2:
            return g[..., 0, 0] * g[..., 1, 1] > g[..., 0, 1] * g[..., 1, 0]
        return torch.linalg.det(g) > 0

    def project(self, m: Tensor) -> Tensor:
        """The nearest element by polar factors: a matrix of negative determinant has its smallest singular direction
        reflected, a singular one gets singular values of at least eps times the largest."""
        u, s, vh = torch.linalg.svd(m)
        s = torch.maximum(s, s[..., :1] * torch.finfo(m.dtype).eps)
        sign = torch.sign(torch.linalg.det(u @ vh))
        vh = torch.cat([vh[..., :-1, :], vh[..., -1:, :] * sign[..., None, None]], -2)
        return (u * s[..., None, :]) @ vh

    def distance(self, g: Tensor, h: Tensor) -> Tensor:
        u, s, vh = torch.linalg.svd(torch.linalg.solve(g, h))
        return (s.log().square().sum(-1) + rotation_angle(u @ vh).square()).sqrt()

    def parts(self) -> dict[str, Sampler]:
        return {"rotations": SO(self.n).sample, "stretches": self.sample_stretch}

    def grid(self, num: int) -> Tensor:
        """Identity, then elements of the one-parameter subgroups in turn: stretches up to a factor 2, turns to 180°."""
        top = torch.cat(
            [
                torch.full((self.dim - self.n * (self.n - 1) // 2,), math.log(2.0) / math.sqrt(2)),
                torch.full((self.n * (self.n - 1) // 2,), math.pi),
            ]
        ).to(torch.float64)
        v = torch.zeros(num, self.dim, dtype=torch.float64)
        for j in range(1, num if self.dim else 1):
            direction = (j - 1) % self.dim
            v[j, direction] = top[direction] * j / num
        return self.exp(v)

    def label(self, g: Tensor) -> str:
        s = torch.linalg.svdvals(g.to(torch.float64))
        u, _, vh = torch.linalg.svd(g.to(torch.float64))
        turn = math.degrees(float(rotation_angle(u @ vh)))
        return f"rotation {turn:.3g}°, stretch {float(s[0]):.3g} x {float(s[-1]):.3g}"


class SL(GLPlus):
    """SL(n): n x n matrices of determinant one; volumes and orientation stay. As `GLPlus` with X of trace zero."""

    _name = "SL"
    _traceless = True
    _condition = "det = 1"

    def contains(self, g: Tensor, atol: float = 1e-5) -> Tensor:
        """|det g - 1| within `atol` of the product of the rows' lengths, the scale of a determinant's rounding."""
        wide = g.to(torch.float64)
        scale = wide.norm(dim=-1).prod(-1).clamp_min(1.0)
        return (torch.linalg.det(wide) - 1).abs() <= atol * scale

    def project(self, m: Tensor) -> Tensor:
        g = super().project(m)
        return g / torch.linalg.det(g)[..., None, None] ** (1 / self.n)
