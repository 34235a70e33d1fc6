"""Class functions of SU(n): functions of the eigenphases alone, with the gradient and Laplacian in closed form."""

from typing import Any

import torch
from torch import Tensor, nn

from erlangen.groups.eigenphases import radial_divergence
from erlangen.groups.manifolds import Manifold, SpecialUnitary
from erlangen.nn.flows.potential import Potential, TimePolynomial


class ClassFunctionPotential(Potential):
    """φ_t(U) = c(t)·p + a(t)·tanh(W p + b(t)), p_m = tr U^m / m = Σ_k e^{imθ_k} / m for m = 1 .. `harmonics`.

    A deep set of the eigenvalues whose inner maps are the power sums: these generate all continuous class functions of
    SU(n) once `harmonics` ≥ n, so a network of them reaches every one. φ is invariant under conjugation, and its
    gradient is U V diag(i (F_k - F̄)) V† with F_k = ∂φ/∂θ_k. First and second derivatives in θ are written out: one
    evaluation costs O(n · harmonics · hidden), no automatic differentiation, and eigenvectors never move.

    I. Katsman, A. Lou, D. Lim, Q. Jiang, S.-N. Lim, C. De Sa, "Equivariant Manifold Flows", 2021, arXiv:2107.08596. Their
    code leaves the projected gradient in the Lie algebra and multiplies it by U† once more, and reads the log-density
    off the real plus the imaginary part; here field and divergence are those of the text.

    Args:
        n: the matrices are n × n.
        hidden: width of the network.
        harmonics: highest power of U; max(n, 4) unless given.

    Raises ValueError for sizes below 1, or n below 2.
    """

    frequency: Tensor
    products: Tensor

    def __init__(self, n: int, hidden: int = 64, *, harmonics: int | None = None) -> None:
        super().__init__()
        count = max(n, 4) if harmonics is None else harmonics
        if n < 2 or hidden < 1 or count < 1:
            raise ValueError(f"n, hidden, harmonics: {n}, {hidden}, {count}; at least 2, 1, 1")
        self.n, self.hidden, self.harmonics = n, hidden, count
        self.register_buffer("frequency", torch.arange(1, count + 1).double(), persistent=False)
        self.register_buffer("products", product_table(count), persistent=False)
        self.weight = nn.Parameter(torch.randn(hidden, 2 * count) / count**0.5)
        self.bias = TimePolynomial(hidden)
        self.outer = TimePolynomial(hidden)
        self.linear = TimePolynomial(2 * count)
        with torch.no_grad():
            self.bias.coefficients.normal_()

    @property
    def symmetries(self) -> list[Any]:
        return []

    def _waves(self, phases: Tensor) -> tuple[Tensor, Tensor]:
        """cos mθ_k and sin mθ_k for m = 1 .. 2 harmonics, `[*batch, n, 2 harmonics]` each."""
        count = torch.arange(1, 2 * self.harmonics + 1, dtype=phases.dtype, device=phases.device)
        angle = phases[..., None] * count
        return torch.cos(angle), torch.sin(angle)

    def value(self, t: Tensor, phases: Tensor) -> Tensor:
        """φ_t as a function of the phases, `[*batch, n] -> [*batch]`."""
        cosine, sine = (wave[..., : self.harmonics].sum(-2) for wave in self._waves(phases))
        frequency = self.frequency.to(phases.dtype)
        p = torch.cat([cosine / frequency, sine / frequency], -1)
        inner = torch.tanh(p @ self.weight.to(p.dtype).mT + self.bias(t))
        return p @ self.linear(t) + inner @ self.outer(t)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """φ_t(U) from traces of powers, so that it differentiates in U."""
        powers, current = [], x
        for _ in range(self.harmonics):
            powers.append(torch.diagonal(current, dim1=-2, dim2=-1).sum(-1))
            current = current @ x
        traces = torch.stack(powers, -1) / self.frequency.to(powers[0].real.dtype)
        p = torch.cat([traces.real, traces.imag], -1)
        inner = torch.tanh(p @ self.weight.to(p.dtype).mT + self.bias(t))
        return p @ self.linear(t) + inner @ self.outer(t)

    def radial(self, t: Tensor, phases: Tensor) -> tuple[Tensor, Tensor]:
        """Velocity of the phases, F_k - F̄, and the Laplacian of φ_t on SU(n): `[*batch, n]` and `[*batch]`."""
        frequency = self.frequency.to(phases.dtype)
        cosines, sines = self._waves(phases)
        cosine, sine = cosines[..., : self.harmonics], sines[..., : self.harmonics]
        first = torch.cat([-sine, cosine], -1)
        second = torch.cat([-cosine * frequency, -sine * frequency], -1)
        moments = torch.cat([cosines.sum(-2), sines.sum(-2)], -1)
        low = torch.cat([moments[..., : self.harmonics], moments[..., 2 * self.harmonics : 3 * self.harmonics]], -1)
        weight = self.weight.to(phases.dtype)
        outer = self.outer(t)
        inner = torch.tanh((low / torch.cat([frequency, frequency])) @ weight.mT + self.bias(t))
        slope = 1 - inner.square()
        gradient = (outer * slope) @ weight + self.linear(t)
        curvature = -2 * outer * inner * slope
        force = (first * gradient[..., None, :]).sum(-1)
        bend = (second * gradient[..., None, :]).sum(-1)
        # the projected Hessian's trace, tr H - 1ᵀH1 / n: bends, and Σ_w κ_w Σ_k (W_w ψ'_k)² less the square of the mean
        pairs = (weight[:, :, None] * weight[:, None, :]).flatten(1) @ self.products.to(phases.dtype)
        squares = curvature @ pairs
        quadratic = self.n * squares[..., 0] + (squares[..., 1:] * moments).sum(-1)
        quadratic = quadratic - (curvature * (first.sum(-2) @ weight.mT).square()).sum(-1) / self.n
        velocity = force - force.mean(-1, keepdim=True)
        trace = bend.sum(-1) * (1 - 1 / self.n) + quadratic
        return velocity, radial_divergence(phases, velocity, trace, bend)

    def field_and_divergence(self, manifold: Manifold, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        if not isinstance(manifold, SpecialUnitary) or manifold.n != self.n:
            raise ValueError(
                f"manifold: {manifold.name}; class functions of SU({self.n}) live on SpecialUnitary({self.n})"
            )
        return super().field_and_divergence(manifold, t, x)


def product_table(count: int) -> Tensor:
    """Products of two of the waves (-sin aθ, then cos aθ, a = 1 .. count) in 1, cos qθ and sin qθ, q = 1 .. 2 count.

    `[(2 count)², 4 count + 1]`, float64. With it Σ_k of products needs only the moments Σ_k cos qθ_k and Σ_k sin qθ_k.
    """
    table = torch.zeros(2 * count, 2 * count, 4 * count + 1, dtype=torch.float64)

    def add(i: int, j: int, wave: str, order: int, factor: float) -> None:
        if wave == "cos":
            table[i, j, abs(order)] += factor
        elif order:
            table[i, j, 2 * count + abs(order)] += factor * (1 if order > 0 else -1)

    for a in range(1, count + 1):
        for b in range(1, count + 1):
            for sign, i, j in ((-1, a - 1, b - 1), (1, count + a - 1, count + b - 1)):
                add(i, j, "cos", a - b, 0.5)
                add(i, j, "cos", a + b, 0.5 * sign)
            for i, j in ((a - 1, count + b - 1), (count + b - 1, a - 1)):
                add(i, j, "sin", a + b, -0.5)
                add(i, j, "sin", a - b, -0.5)
    return table.flatten(0, 1)
