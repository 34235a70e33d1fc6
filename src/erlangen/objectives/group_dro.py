"""Distributionally robust classification: the groups on which the loss is worst count most."""

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from erlangen._registry import objectives
from erlangen.data.batch import PairBatch
from erlangen.objectives.distributed import ReductionKind, gather_batch
from erlangen.objectives.precision import at_least_single
from erlangen.objectives.supervised import CrossEntropy
from erlangen.objectives.terms import LossTerms


@at_least_single
def group_means(loss: Float[Tensor, " batch"], group: Int[Tensor, " batch"], count: int) -> Float[Tensor, " groups"]:
    """The mean loss of each of `count` groups; 0 for a group without a sample."""
    total = loss.new_zeros(count).index_add(0, group, loss)
    return total / group.bincount(minlength=count).clamp(min=1)


@at_least_single
def sample_losses(logits: Float[Tensor, "batch classes"], label: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Cross-entropy of each sample."""
    return F.cross_entropy(logits, label, reduction="none")


@objectives.register(
    "group_dro",
    summary="cross-entropy on the worst groups of class and attribute, whose weights rise with their loss",
    paper="arXiv:1911.08731",
)
class GroupDRO(CrossEntropy):
    """`sum_g q_g L_g` with `q_g <- q_g exp(step_size L_g)`, normalised, L_g the mean cross-entropy of a group in the batch.

    A group is a class, or a class with an attribute. The weights move in training only, before they are used; a group
    that is not in the batch has loss 0 there. S. Sagawa, P. W. Koh, T. Hashimoto, P. Liang, "Distributionally Robust
    Neural Networks for Group Shifts", 2020, arXiv:1911.08731, without the adjustment by group size; it needs much weight
    decay or early stopping to differ from plain training at its end. In evaluation the groups are the classes.

    Over several processes the groups are those of the whole batch.

    Arguments:
        attribute: of each sample of the fitted part in order (`batch.index`; fit with `val_fraction=0`); None for none.
        step_size: of the weights.
    """

    distributed_kind: ClassVar[ReductionKind] = ReductionKind.GLOBAL_STATS
    healthy: ClassVar[dict[str, str]] = {
        "robust": "starts near log(classes) and falls towards 0, later than plain cross-entropy",
        "worst_class": "the largest mean loss of a class; near `robust` where no class is left behind",
    }
    share: Tensor
    attributes: Tensor

    def __init__(self, step_size: float = 0.01, *, attribute: Sequence[int] | None = None) -> None:
        super().__init__()
        if not 0 < step_size < float("inf"):
            raise ValueError(f"step_size: {step_size}; it must be positive")
        if attribute is not None and (len(attribute) == 0 or min(attribute) < 0):
            raise ValueError("attribute: numbers of at least 0 are needed, one for each sample")
        self.step_size = step_size
        self.register_buffer("attributes", torch.tensor([] if attribute is None else list(attribute)).long())
        self.levels = int(self.attributes.max()) + 1 if len(self.attributes) else 1
        self.classes = 0

    def setup(self, *, embedding_dim: int, num_classes: int | None = None) -> None:
        """Create the classifier and equal weights for all groups."""
        super().setup(embedding_dim=embedding_dim, num_classes=num_classes)
        if not self.classes:
            self.classes = int(num_classes or 0)
            groups = self.classes * self.levels
            self.register_buffer("share", torch.full((groups,), 1 / groups))

    def _group(self, batch: PairBatch, label: Tensor) -> Tensor:
        if not len(self.attributes):
            return label
        if batch.index is None or int(batch.index.max()) >= len(self.attributes):
            raise ValueError(
                f"attribute: {len(self.attributes)} given, and the batch has an index beyond them or none; give one for "
                "each sample that is fitted"
            )
        return label * self.levels + self.attributes[batch.index]

    def forward(self, encoder: nn.Module, batch: PairBatch) -> LossTerms:
        if batch.label is None:
            raise ValueError("label: the batch has none; cross-entropy needs labels")
        group = self._group(batch, batch.label) if self.training else batch.label
        each = sample_losses(self._logits(encoder(batch.x)), batch.label)
        each, group = gather_batch(each, self.distributed_kind), gather_batch(group, self.distributed_kind)
        if not self.training:
            means = group_means(each, group, self.classes)
            return LossTerms({"robust": means.sum() / len(group.unique())})
        means = group_means(each, group, len(self.share))
        with torch.no_grad():
            risen = self.share * (self.step_size * means.to(self.share)).exp()
            self.share.copy_(risen / risen.sum())
        return LossTerms({"robust": (self.share.to(means) * means).sum()})

    @torch.no_grad()
    def metrics(self, encoder: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
        """The share of right answers, and the largest mean loss of a class."""
        if batch.label is None:
            return {}
        each = sample_losses(self._logits(encoder(batch.x)), batch.label)
        worst = group_means(each, batch.label, self.classes).max()
        return {**super().metrics(encoder, batch), "worst_class": worst}
