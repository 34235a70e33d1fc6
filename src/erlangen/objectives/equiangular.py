"""Equiangular basis vectors: classes as fixed, nearly equiangular directions, fewer dimensions than classes."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from erlangen._registry import objectives
from erlangen.data.batch import PairBatch
from erlangen.nn.fixed_classifier import FixedClassifier
from erlangen.nn.prototypes import equiangular_prototypes
from erlangen.objectives.classification import cross_entropy
from erlangen.objectives.objective import Objective
from erlangen.objectives.terms import LossTerms
from erlangen.stats.spectrum import effective_rank


@objectives.register(
    "equiangular",
    summary="labels on fixed, nearly equiangular unit vectors: no class weights, and d may be less than the classes",
    paper="arXiv:2303.11637",
)
class EquiangularVectors(Objective):
    """`CE(normalise(z) W' / temperature)` with fixed unit vectors W whose cosines are as small as d allows.

    The class vectors have no parameters and are the same for the same seed. Prediction is the class of the nearest
    vector. Y. Shen, X. Sun, X.-S. Wei, "Equiangular basis vectors", 2023, arXiv:2303.11637 (temperature 0.07, label
    smoothing 0.1).

    Arguments:
        temperature: divides the cosines.
        label_smoothing: the share of probability that is spread over all classes.
        alpha: the largest |cosine| allowed between two class vectors; None is what is reached easily.
        seed: of the class vectors.
    """

    needs_labels: ClassVar[bool] = True
    healthy: ClassVar[dict[str, str]] = {
        "cross_entropy": "starts near log(classes) or above it, falls; label smoothing keeps it above 0"
    }

    def __init__(
        self,
        temperature: float = 0.07,
        *,
        label_smoothing: float = 0.1,
        alpha: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature: {temperature}; above 0 is needed")
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing: {label_smoothing}; allowed: 0 <= label_smoothing < 1")
        self.temperature, self.label_smoothing, self.alpha, self.seed = temperature, label_smoothing, alpha, seed
        self.classifier: FixedClassifier | None = None

    def setup(self, *, embedding_dim: int, num_classes: int | None = None) -> None:
        """Create the class vectors; ValueError without labels or for an `alpha` that no vectors reach."""
        if num_classes is None or num_classes < 2:
            raise ValueError(
                f"objective: 'equiangular' needs labels of two classes or more, the data have {num_classes}"
            )
        if not self._same_sizes(embedding_dim=embedding_dim, num_classes=num_classes):
            generator = torch.Generator().manual_seed(self.seed)
            vectors = equiangular_prototypes(num_classes, embedding_dim, self.alpha, generator=generator)
            self.classifier = FixedClassifier(vectors, normalize=True, temperature=self.temperature)

    def _logits(self, embedding: Tensor) -> Tensor:
        if self.classifier is None:
            raise RuntimeError("objective: call setup(embedding_dim=..., num_classes=...) before the first batch")
        return self.classifier(embedding)

    def forward(self, encoder: nn.Module, batch: PairBatch) -> LossTerms:
        if batch.label is None:
            raise ValueError("label: the batch has none; equiangular basis vectors need labels")
        return cross_entropy(self._logits(encoder(batch.x)), batch.label, label_smoothing=self.label_smoothing)

    def metrics(self, encoder: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
        """Right answers, spread and effective rank of the unit embeddings."""
        embedding = encoder(batch.x)
        numbers = {}
        if batch.label is not None:
            numbers["accuracy"] = (self._logits(embedding).argmax(-1) == batch.label).float().mean()
        if len(batch) > 1:
            unit = nn.functional.normalize(embedding.float(), dim=1)
            numbers["embedding_std"] = unit.std(0).mean()
            numbers["effective_rank"] = effective_rank(unit).float().nan_to_num(0.0)
        return numbers

    def predict(self, embedding: Tensor) -> Tensor:
        return self._logits(embedding)
