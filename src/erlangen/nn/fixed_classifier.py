"""A classifier whose class vectors are fixed before training and never change."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from erlangen._registry import unknown_name
from erlangen.nn.prototypes import equiangular_prototypes, orthonormal_prototypes, simplex_logits, simplex_prototypes

Kind = Literal["simplex", "equiangular", "orthonormal"]


class FixedClassifier(nn.Module):
    """Logits `z · w_y (/ temperature)` with prototypes `w` that are a buffer: no optimizer, no decay touches them.

    Two models with the same prototypes have comparable features, which is what stationary representations rest on
    (N. Biondi, F. Pernici, S. Ricci, A. Del Bimbo, 2024, arXiv:2405.02581); prototypes in fewer dimensions than classes
    are equiangular basis vectors (Y. Shen, X. Sun, X.-S. Wei, 2023, arXiv:2303.11637).

    The simplex is never stored: its logits cost O(dim) a sample. Classes beyond those of today may be pre-allocated.

    Arguments:
        prototypes: "simplex", "equiangular", "orthonormal", or unit rows `[classes, dim]`.
        num_classes: how many, where `prototypes` is a name.
        dim: of the features; `None` is `num_classes - 1` for the simplex and `num_classes` else.
        in_features: of what comes in, where a linear map without bias leads to `dim`; `None` for no map.
        normalize: divide the features by their norm first (the papers: no for the simplex, yes for equiangular ones).
        temperature: divides the logits; equiangular basis vectors use 0.07 on normalised features.
        generator: for the random prototypes.
    """

    vectors: Tensor | None

    def __init__(
        self,
        prototypes: Kind | Tensor,
        num_classes: int | None = None,
        *,
        dim: int | None = None,
        in_features: int | None = None,
        normalize: bool | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature: {temperature}; above 0 is needed")
        self.kind = "given" if isinstance(prototypes, Tensor) else prototypes
        vectors = self._vectors(prototypes, num_classes, dim, generator)
        self.register_buffer("vectors", vectors)
        if vectors is not None:
            self.num_classes, self.dim = vectors.shape
        else:
            assert num_classes is not None
            self.num_classes, self.dim = num_classes, num_classes - 1
        self.normalize = normalize if normalize is not None else self.kind == "equiangular"
        self.temperature = temperature
        self.embed = nn.Identity() if in_features is None else nn.Linear(in_features, self.dim, bias=False)

    def _vectors(
        self, prototypes: Kind | Tensor, num_classes: int | None, dim: int | None, generator: torch.Generator | None
    ) -> Tensor | None:
        if isinstance(prototypes, Tensor):
            norms = prototypes.norm(dim=-1)
            if prototypes.ndim != 2 or not bool(((norms - 1).abs() < 1e-3).all()):
                raise ValueError(f"prototypes: shape {tuple(prototypes.shape)}; expected unit rows [classes, dim]")
            return prototypes.detach().clone()
        if prototypes not in ("simplex", "equiangular", "orthonormal"):
            raise unknown_name("prototypes", prototypes, ["simplex", "equiangular", "orthonormal"])
        if num_classes is None or num_classes < 2:
            raise ValueError(f"num_classes: {num_classes}; at least 2 are needed")
        if prototypes == "simplex":
            if dim not in (None, num_classes - 1):
                raise ValueError(
                    f"dim: {dim}; the simplex of {num_classes} classes lives in {num_classes - 1} dimensions"
                )
            return None
        make = equiangular_prototypes if prototypes == "equiangular" else orthonormal_prototypes
        return make(num_classes, dim or num_classes, generator=generator)

    @property
    def prototypes(self) -> Float[Tensor, "classes dim"]:
        """The class vectors, `[classes, dim]`."""
        return simplex_prototypes(self.num_classes) if self.vectors is None else self.vectors

    def features(self, z: Float[Tensor, "batch _"]) -> Float[Tensor, "batch dim"]:
        """What is compared with the prototypes: the embedded, perhaps normalised input."""
        z = self.embed(z)
        if z.shape[-1] != self.dim:
            raise ValueError(
                f"z: {z.shape[-1]} features, the prototypes have {self.dim} dimensions; give in_features={z.shape[-1]}"
            )
        return nn.functional.normalize(z, dim=-1) if self.normalize else z

    def forward(self, z: Float[Tensor, "batch _"]) -> Float[Tensor, "batch classes"]:
        """`[batch, in_features or dim] -> [batch, num_classes]` logits."""
        z = self.features(z)
        logits = simplex_logits(z) if self.vectors is None else z @ self.vectors.to(z.dtype).T
        return logits / self.temperature

    def extra_repr(self) -> str:
        return f"{self.kind}, num_classes={self.num_classes}, dim={self.dim}, normalize={self.normalize}"
