"""Functions of symmetric matrices whose gradients survive equal eigenvalues."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from erlangen.groups.lie.cardinal import atanhc, sinhc


def _exp_difference(a: Tensor, b: Tensor) -> Tensor:
    return torch.exp((a + b) / 2) * sinhc((a - b) / 2)


def _log_difference(a: Tensor, b: Tensor) -> Tensor:
    total = a + b
    return 2 * atanhc((a - b) / total) / total


def _sqrt_difference(a: Tensor, b: Tensor) -> Tensor:
    return 1 / (a.sqrt() + b.sqrt())


def _inverse_sqrt_difference(a: Tensor, b: Tensor) -> Tensor:
    root_a, root_b = a.sqrt(), b.sqrt()
    return -1 / (root_a * root_b * (root_a + root_b))


_FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "exp": (torch.exp, _exp_difference),
    "log": (torch.log, _log_difference),
    "sqrt": (torch.sqrt, _sqrt_difference),
    "inverse_sqrt": (torch.rsqrt, _inverse_sqrt_difference),
}


def eigh_or_nan(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """`torch.linalg.eigh`, with NaN out for a matrix that is not finite instead of a failure of the whole batch."""
    finite = matrix.isfinite().all(-1).all(-1)[..., None]
    values, vectors = torch.linalg.eigh(torch.where(finite[..., None], matrix, 0.0))
    return torch.where(finite, values, torch.nan), torch.where(finite[..., None], vectors, torch.nan)


class _Spectral(Function):
    """V f(λ) Vᵀ with the derivative of Daleckii and Krein: V (K ∘ Vᵀ dS V) Vᵀ, K the divided differences of f."""

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, vectors: Tensor, matrix: Tensor, name: str) -> Tensor:
        return (vectors * _FUNCTIONS[name][0](values)[..., None, :]) @ vectors.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        values, vectors, _, ctx.name = inputs
        ctx.save_for_backward(values, vectors)
        ctx.save_for_forward(values, vectors)

    @staticmethod
    def _derivative(ctx: Any, direction: Tensor) -> Tensor:
        values, vectors = ctx.saved_tensors
        kernel = _FUNCTIONS[ctx.name][1](values[..., :, None], values[..., None, :])
        direction = (direction + direction.mT) / 2
        return vectors @ (kernel * (vectors.mT @ direction @ vectors)) @ vectors.mT

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, Tensor, None]:  # type: ignore[override]
        if torch.is_grad_enabled() and grad.requires_grad:
            raise RuntimeError("second derivatives of a function of a symmetric matrix are not available")
        return None, None, _Spectral._derivative(ctx, grad), None

    @staticmethod
    def jvp(ctx: Any, values: Any, vectors: Any, matrix: Tensor, name: Any) -> Tensor:  # type: ignore[override]
        return _Spectral._derivative(ctx, matrix)


def spectral(matrix: Tensor, name: str, decomposition: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """V f(λ) Vᵀ for f one of exp, log, sqrt, inverse_sqrt; `decomposition` spares the eigenvalues where they are known."""
    values, vectors = eigh_or_nan(matrix.detach()) if decomposition is None else decomposition
    return _Spectral.apply(values, vectors, matrix, name)


def symmetric_exp(matrix: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """exp of symmetric matrices, by eigenvalues; once differentiable, also where eigenvalues coincide."""
    return spectral(matrix, "exp")


def symmetric_log(matrix: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """The symmetric logarithm of positive definite matrices; NaN where an eigenvalue is negative.

    Once differentiable, also where eigenvalues coincide: the derivative of V f(λ) Vᵀ is V (K ∘ Vᵀ dS V) Vᵀ with
    K_ij = (f(λ_i) - f(λ_j)) / (λ_i - λ_j), evaluated without cancellation, where autograd through `eigh` divides by
    λ_i - λ_j. Source: J. L. Daleckii and S. G. Krein, 1951; N. J. Higham, Functions of Matrices, 2008, theorem 3.11.
    """
    return spectral(matrix, "log")


def symmetric_sqrt(matrix: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """The positive root of positive definite matrices; once differentiable, also where eigenvalues coincide."""
    return spectral(matrix, "sqrt")


def symmetric_inverse_sqrt(matrix: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """S^(-1/2) of positive definite matrices; once differentiable, also where eigenvalues coincide."""
    return spectral(matrix, "inverse_sqrt")


class _Eigh(Function):
    """Values and vectors, with 1/(λ_j - λ_i) replaced by 0 where the gap is below `gap`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor, gap: float) -> tuple[Tensor, Tensor]:
        return eigh_or_nan(matrix)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.gap = inputs[1]
        ctx.save_for_backward(*output)
        ctx.save_for_forward(*output)

    @staticmethod
    def _kernel(values: Tensor, gap: float) -> Tensor:
        difference = values[..., None, :] - values[..., :, None]
        equal = difference.abs() <= gap * values.abs().amax(-1)[..., None, None]
        return torch.where(equal, 0.0, 1 / torch.where(equal, torch.ones_like(difference), difference))

    @staticmethod
    def backward(ctx: Any, grad_values: Tensor, grad_vectors: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        values, vectors = ctx.saved_tensors
        inner = _Eigh._kernel(values, ctx.gap) * (vectors.mT @ grad_vectors) + torch.diag_embed(grad_values)
        grad = vectors @ inner @ vectors.mT
        return (grad + grad.mT) / 2, None

    @staticmethod
    def jvp(ctx: Any, direction: Tensor, gap: Any) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        values, vectors = ctx.saved_tensors
        inner = vectors.mT @ ((direction + direction.mT) / 2) @ vectors
        moved = vectors @ (_Eigh._kernel(values, ctx.gap) * inner)
        return torch.diagonal(inner, dim1=-2, dim2=-1), moved


def eigh_safe(
    matrix: Float[Tensor, "*batch n n"], *, gap: float | None = None
) -> tuple[Float[Tensor, "*batch n"], Float[Tensor, "*batch n n"]]:
    """`torch.linalg.eigh` with finite gradients: pairs of eigenvalues nearer than `gap` (relative to the largest; the
    default is 1e3 machine epsilons) do not turn into each other in the derivative.

    Exact for every function that treats the vectors of one eigenspace alike (projectors, sorted values), and the only
    finite choice for the others, which have no derivative there. A function V f(λ) Vᵀ of the matrix should go through
    `symmetric_exp`, `symmetric_log`, `symmetric_sqrt` or `symmetric_inverse_sqrt`, whose derivative is exact everywhere.
    Only the lower triangle is read, as in torch; the gradient is symmetric.
    """
    tolerance = 1e3 * torch.finfo(matrix.dtype).eps if gap is None else gap
    values, vectors = _Eigh.apply(matrix, tolerance)
    return values, vectors
