"""Stationary representations: features that stay comparable when a model is updated or replaced."""

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

from erlangen._registry import objectives
from erlangen.data.batch import PairBatch
from erlangen.nn.fixed_classifier import FixedClassifier
from erlangen.objectives.classification import cross_entropy
from erlangen.objectives.distributed import ReductionKind, gather_batch, local_weight
from erlangen.objectives.frozen_encoder import described, frozen
from erlangen.objectives.objective import Objective
from erlangen.objectives.precision import at_least_single
from erlangen.objectives.terms import LossTerms
from erlangen.stats.spectrum import effective_rank

Mask = Literal["exclude", "zero"]


@at_least_single
def higher_order_compatibility(
    new: Float[Tensor, "batch dim"],
    old: Float[Tensor, "batch dim"],
    label: Int[Tensor, " batch"],
    *,
    mu: float = 10.0,
    mask: Mask = "exclude",
    across: tuple[Tensor, Tensor] | None = None,
) -> Float[Tensor, ""]:
    """`mean_i [-mu cos(new_i, old_i) + log sum_{j: y_j != y_i} exp(mu cos(old_i, new_j))]`.

    The new feature of a sample stays at its old one and away from where the old model saw other classes. Where no sample
    of another class is in the batch the sum is empty and its logarithm counts as 0.

    Source: N. Biondi, F. Pernici, S. Ricci, A. Del Bimbo, "Stationary representations: optimally approximating
    compatibility and implications for improved model replacements", 2024, arXiv:2405.02581. `mask="exclude"` follows the
    equation; the released code multiplies the cosines of the same class by 0, so that each adds exp(0) = 1 to the sum:
    `mask="zero"` does the same.

    Arguments:
        new, old: features of the same samples by both models; gradients flow into both.
        label: class numbers.
        mu: sharpness.
        mask: what becomes of samples of the same class in the sum.
        across: the new features and labels that the sum spans, where it is more than this batch.
    """
    if not mu > 0:
        raise ValueError(f"mu: {mu}; above 0 is needed")
    if mask not in ("exclude", "zero"):
        raise ValueError(f"mask: {mask!r}; allowed: 'exclude', 'zero'")
    if len(new) == 0:
        raise ValueError("new: an empty batch; give at least one sample")
    others, other_label = (new, label) if across is None else across
    similarity = mu * normalize(old, dim=1) @ normalize(others, dim=1).T
    same = label[:, None] == other_label[None, :]
    if mask == "zero":
        negatives = similarity.masked_fill(same, 0.0).logsumexp(1)
    else:
        alone = same.all(1)
        kept = similarity.masked_fill(same & ~alone[:, None], -torch.inf)
        negatives = kept.logsumexp(1).masked_fill(alone, 0.0)
    return (negatives - mu * cosine_similarity(new, old, dim=1)).mean()


@objectives.register(
    "stationary",
    summary="labels on the fixed vertices of a simplex, so that models trained later stay comparable with this one",
    paper="arXiv:2405.02581",
)
class Stationary(Objective):
    """Cross-entropy on the fixed vertices of a regular simplex, and higher-order compatibility with an old model.

    An embedding of d dimensions holds the d + 1 vertices; classes take them in order and the rest wait for classes to
    come. The embedding itself is the comparable representation, so a gallery that one such model made can be searched
    by any other with the same dimension and the same classes on the same vertices (`deploy.compat.ClassRegistry`).

    Without `old` the loss is the cross-entropy. With it: `lam CE + (1 - lam) HOC(new, old)`.

    Source: N. Biondi, F. Pernici, S. Ricci, A. Del Bimbo, 2024, arXiv:2405.02581 (lam = 0.1, mu = 10, 1,024 vertices,
    features that are not normalised, no bias).

    Arguments:
        lam: the share of the cross-entropy, where there is an old model.
        mu, mask: of the compatibility term.
        old: the model that made the gallery: a module with the same output, "start" for a frozen copy of the encoder as
            `fit` receives it (an update by fine-tuning), or None.
        vertices: of the simplex; must be the embedding's dimension plus 1, which None takes.
        temperature: divides the logits.
        gather: whether the compatibility term spans all processes.
    """

    needs_labels: ClassVar[bool] = True
    distributed_kind: ClassVar[ReductionKind] = ReductionKind.GATHER_NEGATIVES
    healthy: ClassVar[dict[str, str]] = {
        "cross_entropy": "starts near log(vertices) and falls towards 0",
        "compatibility": "falls; with mu = 10 it ends between -20 and 0, and rising means drifting from the old model",
    }

    def __init__(
        self,
        lam: float = 0.1,
        *,
        mu: float = 10.0,
        mask: Mask = "exclude",
        old: nn.Module | Mapping[str, Any] | Literal["start"] | None = None,
        vertices: int | None = None,
        temperature: float = 1.0,
        gather: bool = True,
    ) -> None:
        super().__init__()
        if not 0 <= lam <= 1:
            raise ValueError(f"lam: {lam}; between 0 and 1")
        if not mu > 0 or not temperature > 0:
            raise ValueError(f"mu, temperature: {mu}, {temperature}; both must be above 0")
        if mask not in ("exclude", "zero"):
            raise ValueError(f"mask: {mask!r}; allowed: 'exclude', 'zero'")
        if isinstance(old, str) and old != "start":
            raise ValueError(f"old: {old!r}; allowed: a module, 'start', None")
        self.lam, self.mu, self.mask, self.vertices = lam, mu, mask, vertices
        self.temperature, self.gather, self.from_start = temperature, gather, old == "start"
        self.classifier: FixedClassifier | None = None
        self.old: nn.Module | None = None
        if old is not None and not isinstance(old, str):
            self.init_arguments["old"] = described(old)
            self.old = frozen(copy.deepcopy(old))

    def setup(self, *, embedding_dim: int, num_classes: int | None = None) -> None:
        """Create the simplex.

        Raises:
            ValueError: no labels; more classes than vertices; vertices that do not fit the embedding.
        """
        if num_classes is None:
            raise ValueError("objective: 'stationary' needs labels and the data have none; try objective='vicreg'")
        vertices = embedding_dim + 1 if self.vertices is None else self.vertices
        if vertices != embedding_dim + 1:
            raise ValueError(
                f"vertices: {vertices} live in {vertices - 1} dimensions and the embedding has {embedding_dim}; "
                f"use embedding_dim={vertices - 1}"
            )
        if num_classes > vertices:
            raise ValueError(
                f"objective: {num_classes} classes and {vertices} vertices in {embedding_dim} dimensions; "
                f"use an encoder with embedding_dim of at least {num_classes - 1}"
            )
        if not self._same_sizes(embedding_dim=embedding_dim, num_classes=num_classes):
            self.classifier = FixedClassifier("simplex", vertices, temperature=self.temperature)

    def attach(self, encoder: nn.Module, sample: Tensor) -> None:
        if self.from_start and self.old is None:
            self.old = copy.deepcopy(encoder).requires_grad_(False).eval()
        if self.old is not None:
            with torch.no_grad():
                found = tuple(self.old(sample).shape[1:])
            expected = (self._simplex().dim,)
            if found != expected:
                raise ValueError(f"old: gives {found}, the simplex has {expected[0]} dimensions; they must agree")

    def train(self, mode: bool = True) -> "Stationary":
        super().train(mode)
        if self.old is not None:
            self.old.eval()
        return self

    def _simplex(self) -> FixedClassifier:
        if self.classifier is None:
            raise RuntimeError("objective: call setup(embedding_dim=..., num_classes=...) before the first batch")
        return self.classifier

    def forward(self, encoder: nn.Module, batch: PairBatch) -> LossTerms:
        if batch.label is None:
            raise ValueError("label: the batch has none; stationary representations need labels")
        new = encoder(batch.x)
        share = local_weight(batch.x) if self.gather else 1.0
        fitted = cross_entropy(self._simplex()(new), batch.label)["cross_entropy"] * share
        if self.old is None:
            return LossTerms({"cross_entropy": fitted})
        with torch.no_grad():
            old = self.old(batch.x)
        across = None
        if self.gather:
            across = (gather_batch(new, self.distributed_kind), gather_batch(batch.label, self.distributed_kind))
        kept = higher_order_compatibility(new, old, batch.label, mu=self.mu, mask=self.mask, across=across) * share
        return LossTerms({"cross_entropy": (fitted, self.lam), "compatibility": (kept, 1 - self.lam)})

    def metrics(self, encoder: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
        """Right answers, spread and effective rank of the embedding, and the mean cosine with the old model's."""
        embedding = encoder(batch.x)
        numbers = {}
        if batch.label is not None:
            numbers["accuracy"] = (self._simplex()(embedding).argmax(-1) == batch.label).float().mean()
        if len(batch) > 1:
            numbers["embedding_std"] = embedding.float().std(0).mean()
            numbers["effective_rank"] = effective_rank(embedding.float()).float().nan_to_num(0.0)
        if self.old is not None:
            with torch.no_grad():
                numbers["cosine_to_old"] = cosine_similarity(embedding, self.old(batch.x), dim=1).mean()
        return numbers

    def predict(self, embedding: Tensor) -> Tensor:
        return self._simplex()(embedding)
