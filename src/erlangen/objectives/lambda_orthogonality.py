"""A penalty for maps that leave a neighbourhood of the orthogonal ones."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor


def orthogonality_gap(weight: Float[Tensor, "rows columns"]) -> Float[Tensor, "small small"]:
    """`W'W - I`, or `WW' - I` where that is the smaller one: zero exactly for (semi-)orthogonal maps."""
    gram = weight @ weight.T if weight.shape[0] < weight.shape[1] else weight.T @ weight
    return gram - torch.eye(len(gram), dtype=gram.dtype, device=gram.device)


def lambda_orthogonality(
    weight: Float[Tensor, "rows columns"],
    lam: float,
    *,
    p: float = 1.0,
    gate: Literal["hinge", "smooth"] = "hinge",
    beta: float = 10.0,
    per_sqrt_dim: bool = False,
) -> Float[Tensor, ""]:
    """`relu(||W'W - I||_F - lam)^p`: free within `lam` of orthogonal, pulled back outside.

    `lam = 0` is soft orthogonality, infinity no constraint. `gate="smooth"` gives `sigmoid(beta (g - lam)) g` of the
    same norm g. It does not change under `W -> QW` and `W -> WQ`. The gradient at an orthogonal W is 0.

    Source: S. Ricci, N. Biondi, F. Pernici, I. Patras, A. Del Bimbo, "lambda-orthogonality regularization for compatible
    representation learning", 2025. The exact penalty of the authors' code could not be compared; this is the relaxed
    constraint `||W'W - I||_F <= lam` as they state it.

    Arguments:
        weight: the map; for a rectangular one the smaller of the two Gram matrices counts.
        lam: in units of the Frobenius norm, which grows like the root of the dimension.
        p: power of the hinge, at least 1.
        gate: "hinge" or "smooth".
        beta: sharpness of the smooth gate.
        per_sqrt_dim: multiply `lam` by the root of the smaller dimension, so that it means the same in all sizes.
    """
    if not lam >= 0:
        raise ValueError(f"lam: {lam}; at least 0, infinity for no constraint")
    if not p >= 1 or not beta > 0:
        raise ValueError(f"p, beta: {p}, {beta}; p is at least 1, beta above 0")
    if gate not in ("hinge", "smooth"):
        raise ValueError(f"gate: {gate!r}; allowed: 'hinge', 'smooth'")
    norm = torch.linalg.vector_norm(orthogonality_gap(weight))
    if math.isinf(lam):
        return norm * 0.0
    allowed = lam * math.sqrt(min(weight.shape)) if per_sqrt_dim else lam
    if gate == "smooth":
        return torch.sigmoid(beta * (norm - allowed)) * norm
    excess = (norm - allowed).clamp_min(0)
    return excess if p == 1 else excess**p
