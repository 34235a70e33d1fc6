"""VICReg: two views, no negatives, no collapse."""

from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from erlangen._registry import objectives
from erlangen.data.batch import PairBatch
from erlangen.nn.heads import Expander
from erlangen.objectives import functional
from erlangen.objectives.distributed import ReductionKind, gather_batch, local_weight
from erlangen.objectives.objective import Objective
from erlangen.objectives.terms import LossTerms


@objectives.register(
    "vicreg",
    summary="two views of a sample agree, every dimension varies, no two dimensions repeat each other",
    paper="arXiv:2105.04906",
)
class VICReg(Objective):
    """Variance-invariance-covariance regularisation of the expanded embeddings of two views.

    total = sim s(z1, z2) + std (v(z1) + v(z2)) / 2 + cov (c(z1) + c(z2)); the terms are in `functional`. The embedding
    before the expander is the representation. A. Bardes, J. Ponce, Y. LeCun, 2022, arXiv:2105.04906: an expander of
    three layers of 8,192; here the width defaults to four times the embedding.

    Over several processes variance and covariance are those of the whole batch.

    Arguments:
        sim, std, cov: the weights of the three terms.
        gamma: the standard deviation that the variance term asks for.
        eps: added to the variance under the root; it bounds the gradient at collapse.
        width: of the expander; `None` is four times the embedding.
        layers: of the expander; 0 applies the loss to the embedding itself.
        gather: whether the statistics span all processes.
        check_finite: whether NaN is reported by the name of the view at once.
    """

    views: ClassVar[Literal["single", "pair"]] = "pair"
    distributed_kind: ClassVar[ReductionKind] = ReductionKind.GLOBAL_STATS
    healthy: ClassVar[dict[str, str]] = {
        "invariance": "falls, but stays above 0; 0 together with variance near gamma is collapse",
        "variance": "falls towards 0; staying near gamma (1) is collapse",
        "covariance": "falls slowly; 0 from the start is collapse, not success",
    }

    def __init__(
        self,
        sim: float = 25.0,
        std: float = 25.0,
        cov: float = 1.0,
        *,
        gamma: float = 1.0,
        eps: float = 1e-4,
        width: int | None = None,
        layers: int = 3,
        gather: bool = True,
        check_finite: bool = True,
    ) -> None:
        super().__init__()
        for name, value in (("sim", sim), ("std", std), ("cov", cov)):
            if not value >= 0:
                raise ValueError(f"{name}: {value}; a weight is at least 0")
        if not (gamma > 0 and eps > 0):
            raise ValueError(f"gamma, eps: {gamma}, {eps}; both must be above 0")
        if layers < 0 or (width is not None and width < 1):
            raise ValueError(f"width, layers: {width}, {layers}; width is at least 1, layers at least 0")
        self.sim, self.std, self.cov, self.gamma, self.eps = sim, std, cov, gamma, eps
        self.width, self.layers, self.gather, self.check_finite = width, layers, gather, check_finite
        self.expander: nn.Module | None = nn.Identity() if layers == 0 else None

    def setup(self, *, embedding_dim: int, num_classes: int | None = None) -> None:
        """Create the expander; `num_classes` is not used."""
        if self._same_sizes(embedding_dim=embedding_dim) or self.layers == 0:
            return
        self.expander = Expander(embedding_dim, self.width or 4 * embedding_dim, layers=self.layers)

    def suited_views(self, dataset: Any) -> Any:
        """Crops, as published."""
        return "crops" if dataset.kind == "image" else None

    def loss(self, z1: Tensor, z2: Tensor) -> LossTerms:
        """The loss of two views that are already expanded; what an own training loop calls."""
        statistics, weight = None, 1.0
        if self.gather:
            statistics = (gather_batch(z1, self.distributed_kind), gather_batch(z2, self.distributed_kind))
            weight = local_weight(z1)
        terms = functional.vicreg(
            z1,
            z2,
            sim=self.sim,
            std=self.std,
            cov=self.cov,
            gamma=self.gamma,
            eps=self.eps,
            statistics=statistics,
            check_finite=self.check_finite,
        )
        return LossTerms({n: (v * weight if n == "invariance" else v, terms.weights[n]) for n, v in terms.items()})

    def forward(self, encoder: nn.Module, batch: PairBatch) -> LossTerms:
        if batch.x2 is None:
            raise ValueError("batch: it has no second view x2; VICReg needs pairs (erlangen.data.Views)")
        if self.expander is None:
            raise RuntimeError("objective: call setup(embedding_dim=...) before the first batch")
        return self.loss(self.expander(encoder(batch.x)), self.expander(encoder(batch.x2)))

    def metrics(self, encoder: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
        """The mean standard deviation of the embedding over the batch: near 0 is collapse."""
        if len(batch) < 2:
            return {}
        return {"embedding_std": encoder(batch.x).float().std(0).mean()}
