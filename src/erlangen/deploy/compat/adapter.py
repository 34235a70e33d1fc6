"""An affine map between the spaces of two models, kept as near to orthogonal as one asks."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

from erlangen._registry import unknown_name
from erlangen.deploy.compat.orthogonal_map import procrustes
from erlangen.deploy.compat.pairs import check_pairs
from erlangen.objectives.lambda_orthogonality import lambda_orthogonality, orthogonality_gap

Constraint = Literal["none", "orthogonal", "lambda"]


@dataclass(frozen=True)
class Distortion:
    """What a linear map does to distances and angles, for any data.

    Attributes:
        frobenius: `||W'W - I||_F` (of the smaller Gram matrix), what `lam` bounds.
        spectral: the largest |eigenvalue| of `W'W - I`; 1 or more where dimensions are lost.
        distance_factors: between these two every squared distance is multiplied.
        cosine: no cosine changes by more than this (vectors without the bias); infinite where it is no bound.
    """

    frobenius: float
    spectral: float
    distance_factors: tuple[float, float]
    cosine: float


class Adapter(nn.Module):
    """`T(h) = W h + b`, `[..., in_dim] -> [..., out_dim]`: a new model's embedding in an old gallery's space, or back.

    "none": any W, adapts best and may destroy the geometry of the new space. "orthogonal": W stays (semi-)orthogonal and
    has no bias, so every cosine in the new space stays what it is. "lambda": `||W'W - I||_F <= lam`, which holds exactly
    after `fit`.

    Source: S. Ricci, N. Biondi, F. Pernici, I. Patras, A. Del Bimbo, "lambda-orthogonality regularization for compatible
    representation learning", 2025. The forward adapter of the paper (old to new) is a second `Adapter`, fitted on
    `(old, backward(new))`; its contrastive term here spans `T(new)` and `old`.

    Arguments:
        in_dim, out_dim: of the two spaces.
        constraint: "none", "orthogonal" or "lambda".
        lam: bound on `||W'W - I||_F`; needed for "lambda".
        per_sqrt_dim: `lam` is multiplied by the root of the smaller dimension.
        bias: `None` is no for "orthogonal" (it would change cosines) and yes otherwise.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        constraint: Constraint = "lambda",
        lam: float | None = None,
        per_sqrt_dim: bool = False,
        bias: bool | None = None,
    ) -> None:
        super().__init__()
        if constraint not in ("none", "orthogonal", "lambda"):
            raise unknown_name("constraint", constraint, ["none", "orthogonal", "lambda"])
        if min(in_dim, out_dim) < 1:
            raise ValueError(f"in_dim, out_dim: {in_dim}, {out_dim}; both are at least 1")
        if (constraint == "lambda") != (lam is not None) or (lam is not None and not lam >= 0):
            raise ValueError(
                f"lam: {lam} with constraint={constraint!r}; 'lambda' needs one of at least 0, others none"
            )
        self.constraint = constraint
        self.lam = math.inf if lam is None else lam * (math.sqrt(min(in_dim, out_dim)) if per_sqrt_dim else 1.0)
        self.weight = nn.Parameter(torch.empty(out_dim, in_dim))
        self.bias = (
            nn.Parameter(torch.zeros(out_dim)) if (constraint != "orthogonal" if bias is None else bias) else None
        )
        nn.init.eye_(self.weight)

    def forward(self, h: Float[Tensor, "*batch source"]) -> Float[Tensor, "*batch target"]:
        return nn.functional.linear(h, self.weight, self.bias)

    def penalty(self) -> Float[Tensor, ""]:
        """The lambda-orthogonality of W; 0 for "none"."""
        return lambda_orthogonality(self.weight, 0.0 if self.constraint == "orthogonal" else self.lam)

    def fit(
        self,
        new: Float[Tensor, "samples source"],
        old: Float[Tensor, "_ target"],
        labels: Int[Tensor, " _"] | None = None,
        *,
        loss: Literal["cosine", "mse"] = "cosine",
        strength: float = 1.0,
        contrastive: float = 1.0,
        temperature: float = 0.1,
        steps: int = 300,
        batch_size: int = 512,
        lr: float = 3e-3,
        generator: torch.Generator | None = None,
    ) -> "Adapter":
        """Fit to pairs and return itself, starting at the Procrustes solution, with Adam; the constraint then holds.

        Minimises `align(T(new), old) + strength penalty + contrastive SupCon({T(new), old}, labels)` with
        `align = mean(1 - cos)` or the mean squared error. The orthogonal adapter without labels is the Procrustes
        solution itself and takes no steps. Steps that leave the constraint are followed by the map back onto it
        (singular values for "lambda", the polar factor for "orthogonal").

        Arguments:
            new, old: embeddings of the same samples.
            labels: class numbers; without them there is no contrastive term.
            generator: draws the batches.
        """
        check_pairs(new, old, ("new", "old"))
        if (new.shape[1], old.shape[1]) != (self.weight.shape[1], self.weight.shape[0]):
            raise ValueError(f"new, old: {new.shape[1]} -> {old.shape[1]} dimensions; made for {self._sizes()}")
        if labels is not None and len(labels) != len(new):
            raise ValueError(f"labels: {len(labels)} for {len(new)} samples")
        if loss not in ("cosine", "mse"):
            raise unknown_name("loss", loss, ["cosine", "mse"])
        start = procrustes(new, old, center=self.bias is not None)
        with torch.no_grad():
            self.weight.copy_(start.weight.T)
            if self.bias is not None:
                self.bias.copy_(start.target_mean - start.source_mean @ start.weight)
        if self.constraint == "orthogonal" and labels is None:
            return self
        optimizer = torch.optim.Adam(self.parameters(), lr=lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        new, old = new.detach().to(self.weight.dtype), old.detach().to(self.weight.dtype)
        for _ in range(steps):
            rows = torch.randperm(len(new), generator=generator)[:batch_size]
            mapped, wanted = self(new[rows]), old[rows]
            value = (mapped - wanted).square().mean() if loss == "mse" else _misaligned(mapped, wanted)
            if self.constraint == "lambda":
                value = value + strength * self.penalty()
            if labels is not None and contrastive > 0:
                value = value + contrastive * _supervised_contrast(mapped, wanted, labels[rows], temperature)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
            if self.constraint == "orthogonal":
                self.project()
        return self.project()

    @torch.no_grad()
    def project(self) -> "Adapter":
        """Move W into the constraint, and no further: squared singular values shrink towards 1 by one common factor."""
        if self.constraint == "none":
            return self
        u, s, vt = torch.linalg.svd(self.weight.double(), full_matrices=False)
        gap = s.square() - 1
        norm = float(gap.norm())
        bound = 0.0 if self.constraint == "orthogonal" else self.lam
        if norm > bound:
            self.weight.copy_(((u * (1 + gap * (bound / norm)).sqrt()) @ vt).to(self.weight.dtype))
        return self

    @torch.no_grad()
    def distortion(self) -> Distortion:
        """What W does at most to distances and cosines of any vectors, from its singular values."""
        s = torch.linalg.svdvals(self.weight.double())
        low = float(s.min()) ** 2 if self.weight.shape[0] >= self.weight.shape[1] else 0.0
        high = float(s.max()) ** 2
        spectral = max(1 - low, high - 1)
        return Distortion(
            frobenius=float(orthogonality_gap(self.weight.double()).norm()),
            spectral=spectral,
            distance_factors=(low, high),
            cosine=2 * max(spectral, 0.0) / (1 - spectral) if spectral < 1 else math.inf,
        )

    def _sizes(self) -> str:
        return f"{self.weight.shape[1]} -> {self.weight.shape[0]}"

    def extra_repr(self) -> str:
        bound = f", lam={self.lam:.4g}" if self.constraint == "lambda" else ""
        return f"{self._sizes()}, {self.constraint}{bound}, bias={self.bias is not None}"


def _misaligned(a: Tensor, b: Tensor) -> Tensor:
    return (1 - cosine_similarity(a, b, dim=1)).mean()


def _supervised_contrast(a: Tensor, b: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Multi-positive contrast over both sets: all samples of a class, in either space, attract each other."""
    z, y = normalize(torch.cat([a, b]), dim=1), torch.cat([labels, labels])
    logits = z @ z.T / temperature
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    share = logits.masked_fill(itself, -torch.inf).log_softmax(1)
    positive = (y[:, None] == y[None, :]) & ~itself
    return -(share.masked_fill(~positive, 0.0).sum(1) / positive.sum(1)).mean()
