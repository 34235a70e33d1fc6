"""SimCLR: contrast between two views and the other samples of the batch, the baseline of self-supervision."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from erlangen._registry import objectives
from erlangen.data.batch import PairBatch
from erlangen.nn.heads import Projector
from erlangen.objectives.contrastive import nt_xent
from erlangen.objectives.distributed import ReductionKind, batch_sizes, gather_batch, local_weight, world_size
from erlangen.objectives.objective import Objective
from erlangen.objectives.terms import LossTerms


@objectives.register(
    "nt_xent",
    summary="SimCLR: each view finds its partner among all other views of the batch",
    paper="arXiv:2002.05709",
)
class NTXent(Objective):
    """Normalised temperature-scaled cross-entropy of the projected embeddings of two views (`contrastive.nt_xent`).

    T. Chen, S. Kornblith, M. Norouzi, G. Hinton, 2020, arXiv:2002.05709. The embedding before the projector is the
    representation. Over several processes the negatives are those of all of them.

    Arguments:
        temperature: of the softmax.
        width: of the projection.
        project: whether there is a projector; without it the loss is on the embedding itself.
    """

    views: ClassVar[Literal["single", "pair"]] = "pair"
    distributed_kind: ClassVar[ReductionKind] = ReductionKind.GATHER_NEGATIVES
    healthy: ClassVar[dict[str, str]] = {
        "alignment": "falls, but stays above 0; 0 while spread stays at log(2n - 1) is collapse",
        "spread": "starts below log(2n - 1), n being the batch, and falls; log(2n - 1) is collapse",
    }

    def __init__(self, temperature: float = 0.5, *, width: int = 128, project: bool = True) -> None:
        super().__init__()
        if not 0 < temperature < float("inf"):
            raise ValueError(f"temperature: {temperature}; it must be positive")
        if width < 1:
            raise ValueError(f"width: {width}; at least 1 is needed")
        self.temperature, self.width = temperature, width
        self.projector: nn.Module | None = None if project else nn.Identity()

    def setup(self, *, embedding_dim: int, num_classes: int | None = None) -> None:
        """Create the projector; `num_classes` is not used."""
        if not self._same_sizes(embedding_dim=embedding_dim) and self.projector is None:
            self.projector = Projector(embedding_dim, self.width)

    def suited_views(self, dataset: Any) -> Any:
        """Crops, as published."""
        return "crops" if dataset.kind == "image" else None

    def loss(self, z1: Tensor, z2: Tensor) -> LossTerms:
        """The loss of two views that are already projected; what an own training loop calls."""
        if world_size() == 1:
            return nt_xent(z1, z2, temperature=self.temperature)
        start = sum(batch_sizes(z1)[: dist.get_rank()])
        everyone = (gather_batch(z1, self.distributed_kind), gather_batch(z2, self.distributed_kind), start)
        terms = nt_xent(z1, z2, temperature=self.temperature, everyone=everyone)
        weight = local_weight(z1)
        return LossTerms({name: value * weight for name, value in terms.items()})

    def _projected(self, encoder: nn.Module, batch: PairBatch) -> tuple[Tensor, Tensor]:
        if batch.x2 is None:
            raise ValueError("batch: it has no second view x2; contrast needs pairs (erlangen.data.Crops or Views)")
        if self.projector is None:
            raise RuntimeError("objective: call setup(embedding_dim=...) before the first batch")
        return self.projector(encoder(batch.x)), self.projector(encoder(batch.x2))

    def forward(self, encoder: nn.Module, batch: PairBatch) -> LossTerms:
        return self.loss(*self._projected(encoder, batch))

    @torch.no_grad()
    def metrics(self, encoder: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
        """Mean cosine of partners and of strangers: both near 1 is collapse."""
        if len(batch) < 2 or batch.x2 is None:
            return {}
        one, two = (F.normalize(z.float(), dim=1) for z in self._projected(encoder, batch))
        n = len(one)
        strangers = (one.sum(0) @ two.sum(0) - (one * two).sum()) / (n * (n - 1))
        return {"partner_cosine": (one * two).sum(1).mean(), "stranger_cosine": strangers}

    def alarm(self, values: Mapping[str, float]) -> str | None:
        strangers = values.get("stranger_cosine", 0.0)
        if strangers > 0.95:
            return f"collapse: strangers have cosine {strangers:.3f} (healthy: well below that of partners)"
        return None
