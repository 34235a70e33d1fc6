"""Relative representations: where a sample lies as seen from fixed anchors."""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from erlangen._registry import unknown_name
from erlangen.deploy.compat.pairs import check_finite

Similarity = Literal["cosine", "geodesic"]


def relative(
    x: Float[Tensor, "*batch dim"], anchors: Float[Tensor, "anchors dim"], *, similarity: Similarity = "cosine"
) -> Float[Tensor, "*batch anchors"]:
    """`[cos(x, a_1), ..., cos(x, a_k)]`, differentiable in both: what an end-to-end model re-computes each step.

    "geodesic" gives `1 - 2 arccos(cos) / pi` instead, which is linear in the angle and also within [-1, 1]. The norms of
    x are divided out after the product, so that no second copy of x is made. A zero vector gives NaN.
    """
    if similarity not in ("cosine", "geodesic"):
        raise unknown_name("similarity", similarity, ["cosine", "geodesic"])
    unit = anchors / anchors.norm(dim=-1, keepdim=True)
    cosines = (x @ unit.T) / torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    cosines = cosines.clamp(-1.0, 1.0)
    return cosines if similarity == "cosine" else 1 - 2 / math.pi * cosines.arccos()


class RelativeProjection(nn.Module):
    """An embedding as its cosines to anchors, `[..., d] -> [..., k]`.

    Two spaces that were given the same samples as anchors, in the same order, become comparable without training:
    `r(s e Q) = r(e)` for every rotation or reflection Q and positive factor s. With `center` translations drop out too,
    with `whiten` every invertible affine map. As many independent anchors as dimensions determine the direction of x.

    Source: L. Moschella et al., "Relative representations enable zero-shot latent space communication", 2023,
    arXiv:2209.15430.

    Arguments:
        anchors: embeddings of the anchor samples, `[k, d]`.
        similarity: "cosine" or "geodesic".
        center: subtract the anchors' mean first.
        whiten: centre, and make the anchors' covariance the identity; needs more independent anchors than dimensions.
        quantize: round the similarities to multiples of this step.
        chunk: rows at a time outside training.

    Raises:
        ValueError: no anchors, one that is zero (by its number), values that are not finite, too few to whiten.
    """

    anchors: Tensor
    origin: Tensor
    whitening: Tensor | None

    def __init__(
        self,
        anchors: Float[Tensor, "anchors dim"],
        *,
        similarity: Similarity = "cosine",
        center: bool = False,
        whiten: bool = False,
        quantize: float | None = None,
        chunk: int = 65_536,
    ) -> None:
        super().__init__()
        if similarity not in ("cosine", "geodesic"):
            raise unknown_name("similarity", similarity, ["cosine", "geodesic"])
        if len(anchors) == 0:
            raise ValueError("anchors: none; give at least one")
        if quantize is not None and not quantize > 0:
            raise ValueError(f"quantize: {quantize}; a step is above 0")
        if chunk < 1:
            raise ValueError(f"chunk: {chunk}; at least 1")
        check_finite("anchors", anchors)
        self.similarity, self.quantize, self.chunk = similarity, quantize, chunk
        kept = anchors.detach()
        origin = kept.double().mean(0) if center or whiten else torch.zeros(kept.shape[1], dtype=torch.float64)
        moved = kept.double() - origin.to(kept.device)
        self.register_buffer("whitening", None)
        if whiten:
            self.whitening = _whitening(moved).to(kept.dtype)
            moved = moved @ self.whitening.double()
        norms = moved.norm(dim=1)
        zero = (norms <= 1e-12 * norms.max()).nonzero()
        if len(zero):
            at = "at the anchors' mean" if center or whiten else "zero"
            raise ValueError(f"anchors: number {int(zero[0])} is {at} and has no direction")
        self.register_buffer("origin", origin.to(kept))
        self.register_buffer("anchors", (moved / norms[:, None]).to(kept.dtype))
        self.moves = center or whiten

    @classmethod
    def from_encoder(
        cls, encoder: Callable[[Tensor], Tensor], samples: Tensor, *, similarity: Similarity = "cosine", **options: Any
    ) -> "RelativeProjection":
        """With anchors encoded in evaluation mode, where neither batch statistics nor dropout touch them."""
        training = encoder.training if isinstance(encoder, nn.Module) else False
        if isinstance(encoder, nn.Module):
            encoder.eval()
        try:
            with torch.no_grad():
                anchors = encoder(samples)
        finally:
            if isinstance(encoder, nn.Module):
                encoder.train(training)
        return cls(anchors, similarity=similarity, **options)

    @property
    def num_anchors(self) -> int:
        return len(self.anchors)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch anchors"]:
        if x.shape[-1] != self.anchors.shape[1]:
            raise ValueError(f"x: {x.shape[-1]} dimensions, the anchors have {self.anchors.shape[1]}")
        if x.ndim != 2 or x.requires_grad or len(x) <= self.chunk:
            return self._project(x)
        out = x.new_empty(len(x), self.num_anchors)
        for start in range(0, len(x), self.chunk):
            out[start : start + self.chunk] = self._project(x[start : start + self.chunk])
        return out

    def _project(self, x: Tensor) -> Tensor:
        if self.moves:
            x = x - self.origin
        if self.whitening is not None:
            x = x @ self.whitening
        cosines = x @ self.anchors.T
        norms = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        cosines = cosines.div(norms).clamp(-1.0, 1.0) if x.requires_grad else cosines.div_(norms).clamp_(-1.0, 1.0)
        if self.similarity == "geodesic":
            cosines = 1 - 2 / math.pi * cosines.arccos()
        return cosines if self.quantize is None else (cosines / self.quantize).round() * self.quantize

    def extra_repr(self) -> str:
        k, d = self.anchors.shape
        return f"{d} -> {k} anchors, {self.similarity}, center={self.moves}, whiten={self.whitening is not None}"


def _whitening(centred: Tensor) -> Tensor:
    k, d = centred.shape
    _, s, vt = torch.linalg.svd(centred, full_matrices=False)
    rank = int((s > 1e-10 * s.max()).sum())
    if rank < d:
        raise ValueError(f"anchors: {k} of them span {rank} of {d} dimensions around their mean; whitening needs all")
    return vt.T / s * math.sqrt(k)
