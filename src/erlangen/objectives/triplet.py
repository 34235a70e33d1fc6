"""Triplets on the cosine: an anchor is nearer to its positive than to what is not related to it, by a margin."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from erlangen._registry import objectives
from erlangen.data.batch import PairBatch
from erlangen.objectives.distributed import ReductionKind, batch_sizes, gather_batch, world_size
from erlangen.objectives.objective import Objective
from erlangen.objectives.precision import at_least_single
from erlangen.objectives.terms import LossTerms

CHUNK = 1 << 22
Mining = Literal["hard", "random", "random_then_hard"]


@at_least_single
def triplet_loss(
    anchor: Float[Tensor, "batch dim"],
    positive: Float[Tensor, "batch dim"],
    negative: Float[Tensor, "batch k dim"],
    *,
    margin: float = 0.5,
) -> Float[Tensor, "batch k"]:
    """max(0, D(a, p) - D(a, n) + margin) of each triplet, with D = 1 - cosine; 0 where the margin is kept.

    The paper sums over triplets; here every triplet is a number, for the caller to average.
    """
    a, p, n = (F.normalize(z, dim=-1) for z in (anchor, positive, negative))
    near = (a * p).sum(-1, keepdim=True)
    far = (n * a[:, None]).sum(-1)
    return (far - near + margin).clamp(min=0)


@at_least_single
@torch.no_grad()
def mine(
    anchor: Float[Tensor, "batch dim"],
    candidate: Float[Tensor, "candidates dim"],
    anchor_component: Int[Tensor, " batch"],
    candidate_component: Int[Tensor, " candidates"],
    *,
    k: int = 1,
    hard: bool = True,
) -> tuple[Int[Tensor, "batch k"], Float[Tensor, "batch k"]]:
    """For each anchor `k` candidates of other components, and which of them count (1.0 or 0.0).

    The nearest ones by cosine with `hard`, else random ones, drawn from the global random state. Rows are taken a few
    at a time: no matrix of all anchors and all candidates is held. Where fewer than `k` exist, the rest do not count.
    """
    k = min(k, len(candidate))
    unit = F.normalize(candidate, dim=1)
    step = max(1, CHUNK // len(candidate))
    found, counts = [], []
    for start in range(0, len(anchor), step):
        part = slice(start, start + step)
        score = (
            F.normalize(anchor[part], dim=1) @ unit.mT
            if hard
            else torch.rand(len(anchor[part]), len(unit), device=unit.device)
        )
        score.masked_fill_(anchor_component[part, None] == candidate_component, -torch.inf)
        best = score.topk(k, dim=1) if k > 1 else score.max(1, keepdim=True)
        found.append(best[1])
        counts.append((best[0] > -torch.inf).to(anchor.dtype))
    return torch.cat(found), torch.cat(counts)


@objectives.register(
    "triplet",
    summary="two views are nearer to each other than to anything unrelated, by a margin on the cosine",
    paper="arXiv:1708.02901",
)
class TripletSiameseLoss(Objective):
    """Triplets of the two views and negatives from the batch, never from the anchor's own component.

    mean max(0, D(x, x2) - D(x, x-) + margin), D = 1 - cosine; the negatives are second views of other samples, the
    `top_k` nearest of them or random ones. X. Wang, K. He, A. Gupta, 2017, arXiv:1708.02901, with margin 0.5 and random
    negatives before hard ones. Samples without a single negative in the
    batch do not count; a training batch without any is an error. Over several processes the
    negatives are those of all of them.

    Arguments:
        margin: between the two distances, up to 2.
        mining: "hard", "random", or "random_then_hard" after the first third of the steps.
        top_k: negatives for each anchor.
        components: the component of every sample of the data set (`PairGraph.components`), looked up by `batch.index`;
            without it two samples are unrelated where their index differs, or their place in the batch.
    """

    views: ClassVar[Literal["single", "pair"]] = "pair"
    distributed_kind: ClassVar[ReductionKind] = ReductionKind.GATHER_NEGATIVES
    healthy: ClassVar[dict[str, str]] = {
        "triplet": "starts near the margin and falls; staying at the margin is collapse: all distances are alike"
    }
    components: Tensor
    is_hard: Tensor

    def __init__(
        self,
        margin: float = 0.5,
        *,
        mining: Mining = "random_then_hard",
        top_k: int = 4,
        components: list[int] | None = None,
    ) -> None:
        super().__init__()
        if not 0 < margin <= 2:
            raise ValueError(f"margin: {margin}; cosine distances differ by at most 2: allowed above 0 to 2")
        if mining not in ("hard", "random", "random_then_hard"):
            raise ValueError(f"mining: {mining!r}; allowed: 'hard', 'random', 'random_then_hard'")
        if top_k < 1:
            raise ValueError(f"top_k: {top_k}; at least 1 is needed")
        self.margin, self.mining, self.top_k = margin, mining, top_k
        self.register_buffer("components", torch.tensor([] if components is None else components, dtype=torch.int64))
        self.register_buffer("is_hard", torch.tensor(mining == "hard"))

    def _component(self, batch: PairBatch) -> Tensor:
        if len(self.components):
            if batch.index is None:
                raise ValueError("batch: it has no index, which the components are looked up by")
            return self.components[batch.index]
        if batch.index is not None:
            return batch.index
        start = sum(batch_sizes(batch.x)[: dist.get_rank()]) if world_size() > 1 else 0
        return torch.arange(start, start + len(batch), device=batch.x.device)

    def suited_views(self, dataset: Any) -> Any:
        """Crops, as published."""
        return "crops" if dataset.kind == "image" else None

    def loss(self, z1: Tensor, z2: Tensor, component: Tensor) -> LossTerms:
        """The loss of embeddings of two views and their components; what an own training loop calls."""
        if z1.shape != z2.shape or len(component) != len(z1):
            raise ValueError(
                f"z1, z2, component: shapes {tuple(z1.shape)}, {tuple(z2.shape)}, {tuple(component.shape)}; they must agree"
            )
        if not torch.isfinite(z1.detach()).all() or not torch.isfinite(z2.detach()).all():
            return LossTerms({"triplet": (z1.sum() + z2.sum()) * torch.nan})
        candidates = gather_batch(z2, self.distributed_kind)
        others = gather_batch(component, self.distributed_kind)
        chosen, counts = mine(z1, candidates, component, others, k=self.top_k, hard=bool(self.is_hard))
        usable = counts.sum(1, keepdim=True)
        anchors = gather_batch((usable > 0).to(z1), self.distributed_kind).sum()
        if self.training and not bool(anchors):
            raise ValueError("batch: all its samples are of one component; there is no negative, take a larger batch")
        each = triplet_loss(z1, z2, candidates[chosen], margin=self.margin) * counts / usable.clamp(min=1)
        return LossTerms({"triplet": each.sum() * world_size() / anchors.clamp(min=1)})

    def forward(self, encoder: nn.Module, batch: PairBatch) -> LossTerms:
        if batch.x2 is None:
            raise ValueError(
                "batch: it has no second view x2; triplets need pairs (erlangen.data.pairs, Crops or Views)"
            )
        return self.loss(encoder(batch.x), encoder(batch.x2), self._component(batch))

    @torch.no_grad()
    def metrics(self, encoder: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
        """Mean cosine of partners and of unrelated samples: both near 1 is collapse."""
        if batch.x2 is None or len(batch) < 2:
            return {}
        one, two = (F.normalize(encoder(x).float(), dim=1) for x in (batch.x, batch.x2))
        n = len(one)
        strangers = (one.sum(0) @ two.sum(0) - (one * two).sum()) / (n * (n - 1))
        return {"partner_cosine": (one * two).sum(1).mean(), "stranger_cosine": strangers}

    def alarm(self, values: Mapping[str, float]) -> str | None:
        strangers = values.get("stranger_cosine", 0.0)
        if strangers > 0.95:
            return f"collapse: unrelated samples have cosine {strangers:.3f} (healthy: well below that of partners)"
        return None

    def after_step(self, encoder: nn.Module, *, step: int, total_steps: int) -> None:
        """Turn to hard negatives after a third of the steps."""
        if self.mining == "random_then_hard" and 3 * step >= total_steps:
            self.is_hard.fill_(True)
