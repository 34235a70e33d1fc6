"""Learning from labels."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from erlangen._registry import objectives
from erlangen.data.batch import PairBatch
from erlangen.objectives import functional
from erlangen.objectives.objective import Objective
from erlangen.objectives.terms import LossTerms


@objectives.register("cross_entropy", summary="a linear classifier on the embedding, trained with the labels")
class CrossEntropy(Objective):
    """Cross-entropy of a linear classifier on the embedding.

    Arguments:
        label_smoothing: the share of probability that is spread over all classes.
    """

    needs_labels: ClassVar[bool] = True
    healthy: ClassVar[dict[str, str]] = {"cross_entropy": "starts near log(classes) and falls towards 0"}

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing: {label_smoothing}; allowed: 0 <= label_smoothing < 1")
        self.label_smoothing = label_smoothing
        self.head: nn.Linear | None = None

    def setup(self, *, embedding_dim: int, num_classes: int | None = None) -> None:
        """Create the classifier.

        Raises:
            ValueError: without labels, or with fewer than two classes.
        """
        if num_classes is None:
            raise ValueError("objective: 'cross_entropy' needs labels and the data have none; try objective='vicreg'")
        if num_classes < 2:
            raise ValueError(
                f"objective: 'cross_entropy' needs two classes or more and the data have {num_classes}; "
                "try objective='vicreg'"
            )
        if not self._same_sizes(embedding_dim=embedding_dim, num_classes=num_classes):
            self.head = nn.Linear(embedding_dim, num_classes)

    def _logits(self, embedding: Tensor) -> Tensor:
        if self.head is None:
            raise RuntimeError("objective: call setup(embedding_dim=..., num_classes=...) before the first batch")
        return self.head(embedding)

    def forward(self, encoder: nn.Module, batch: PairBatch) -> LossTerms:
        if batch.label is None:
            raise ValueError("label: the batch has none; cross-entropy needs labels")
        return functional.cross_entropy(
            self._logits(encoder(batch.x)), batch.label, label_smoothing=self.label_smoothing
        )

    def metrics(self, encoder: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
        """The share of right answers."""
        if batch.label is None:
            return {}
        return {"accuracy": (self._logits(encoder(batch.x)).argmax(-1) == batch.label).float().mean()}

    def predict(self, embedding: Tensor) -> Float[Tensor, "batch classes"]:
        return self._logits(embedding)
