"""What `fit` asks of an objective."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from erlangen.data.batch import PairBatch
from erlangen.objectives.distributed import ReductionKind
from erlangen.objectives.terms import LossTerms


class Objective(nn.Module):
    """A loss on embeddings with the state it needs: heads, expanders, teachers.

    Class attributes:
        views: "pair" where a batch must have a second view `x2`.
        needs_labels: whether the batch must have labels.
        distributed_kind: how the loss over several processes combines.
        healthy: term -> what its value should look like, in words.
    """

    views: ClassVar[Literal["single", "pair"]] = "single"
    needs_labels: ClassVar[bool] = False
    distributed_kind: ClassVar[ReductionKind] = ReductionKind.LOCAL_MEAN
    healthy: ClassVar[dict[str, str]] = {}
    init_arguments: dict[str, Any]

    @property
    def prefixes(self) -> tuple[int, ...] | None:
        """Lengths of the prefixes of the embedding that are embeddings in their own right; None where there are none."""
        return None

    def suited_views(self, dataset: Any) -> Any:
        """The views that suit this objective, for a user who names neither views nor a symmetry.

        A function `(x, generator) -> (x1, x2, g)`, the name of a kind of views that `fit` knows, or None for random
        elements of a group.
        """
        return None

    def setup(self, *, embedding_dim: int, num_classes: int | None = None) -> None:
        """Create the heads, once; a second call with the same sizes does nothing."""

    def attach(self, encoder: nn.Module, sample: Tensor) -> None:
        """Called once after `setup`, before training and before a saved state is loaded.

        The place for copies of the encoder (teachers) and for sizes that only a forward pass of `sample` tells. The
        encoder itself must not be kept: it comes with every call.
        """

    def forward(self, encoder: nn.Module, batch: PairBatch) -> LossTerms:
        """The loss of a batch. In training mode it may update its state (queues); in evaluation it must not."""
        raise NotImplementedError

    def metrics(self, encoder: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
        """Further numbers worth logging on held-out data."""
        return {}

    def alarm(self, values: Mapping[str, float]) -> str | None:
        """What is wrong, in one sentence that starts with its name, judged by the terms and metrics of an epoch."""
        return None

    def after_step(self, encoder: nn.Module, *, step: int, total_steps: int) -> None:
        """Called after every optimizer step, `step` of `total_steps` being done: moves teachers and schedules."""

    def predict(self, embedding: Tensor) -> Tensor | None:
        """Class logits for embeddings, where the objective has a classifier."""
        return None

    def _same_sizes(self, **sizes: int | None) -> bool:
        """Whether `setup` already ran with these sizes; a run with others is an error."""
        known: dict[str, int | None] | None = getattr(self, "_sizes", None)
        if known is None:
            self._sizes = sizes
            return False
        if known != sizes:
            raise ValueError(f"setup: called with {sizes}, the heads were made for {known}; make a new objective")
        return True
