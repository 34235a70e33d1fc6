"""SIE: one half of an embedding stays when the sample moves, the other moves as told."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from erlangen._registry import objectives
from erlangen.data.batch import PairBatch
from erlangen.data.views import Views
from erlangen.groups import parse
from erlangen.groups.base import Group
from erlangen.nn.hyper import HyperPredictor
from erlangen.nn.split_projector import SplitProjector
from erlangen.objectives import sie_terms
from erlangen.objectives.distributed import ReductionKind, gather_batch, local_weight
from erlangen.objectives.group_codes import Code, GroupCode
from erlangen.objectives.objective import Objective
from erlangen.objectives.terms import LossTerms


class ConcatPredictor(nn.Module):
    """`z2 = MLP([z1, code])`: the predictor that may learn not to look at the code; a baseline."""

    def __init__(self, dim: int, code_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim + code_dim, dim), nn.ReLU(), nn.Linear(dim, dim))

    def forward(self, z: Float[Tensor, "batch dim"], g: Float[Tensor, "batch code"]) -> Float[Tensor, "batch dim"]:
        return self.layers(torch.cat([z, g], 1))


@objectives.register(
    "sie",
    summary="half of the embedding agrees between views, the other half is predicted from the known transformation",
    paper="arXiv:2302.10283",
)
class SIE(Objective):
    """Split invariant-equivariant representations: the embedding is [invariant | equivariant], the last `split` numbers moving.

    A batch has two views and the element g that leads from the first to the second. The invariant half of both
    views agrees; that of the second view's equivariant half is predicted from the first one's as W(g) z, where W is made
    from a code of g by a hypernetwork without biases, so that the prediction cannot ignore g. Terms and weights:
    `functional.sie`. Q. Garrido, L. Najman, Y. LeCun, 2023, arXiv:2302.10283: rotations of 3-D objects by quaternions; here
    any group, and by default its irreducible representations (see `GroupCode` for why not quaternions).

    Over several processes variance and covariance are those of the whole batch.

    Arguments:
        sim, equi, std, cov: the weights.
        split: numbers in the equivariant half; `None` is half of the embedding, 0 is VICReg.
        group: whose elements the batches carry: C8, SO(2), SO(3), ...
        code: "irreps", "matrix" or "quat".
        degree: of the highest irreducible representation of a continuous group.
        extra: numbers that the code has beside the group element, such as differences of hue (the paper's rotation and
            colour: 2); a batch's g is then `(element, [batch, extra])`.
        predictor: "hyper", or "mlp" for one that is given code and embedding side by side.
        predictor_layers: widths between the code and W; none in the paper's best variant.
        width: of both projectors together; `None` is four times the embedding.
        layers: of the projectors; 0 applies the loss to the embedding itself.
        gather: whether the statistics span all processes.
        check_finite: whether NaN is reported by the name of the view at once.
    """

    views: ClassVar[Literal["single", "pair"]] = "pair"
    distributed_kind: ClassVar[ReductionKind] = ReductionKind.GLOBAL_STATS
    healthy: ClassVar[dict[str, str]] = {
        "invariance": "falls, but stays above 0; 0 together with variance near gamma is collapse",
        "equivariance": "falls below twice the variance of z; staying there means that g is not used",
        "variance_predicted": "falls towards 0; near gamma (1) the prediction has collapsed",
        "variance": "falls towards 0; staying near gamma (1) is collapse",
        "covariance": "falls slowly; 0 from the start is collapse, not success",
        "wrong_code_ratio": "above 1: predictions with another sample's g are worse; 1 means that g is ignored",
        "embedding_std": "stays well above 0",
    }

    def __init__(
        self,
        sim: float = 10.0,
        equi: float = 0.45,
        std: float = 10.0,
        cov: float = 1.0,
        *,
        split: int | None = None,
        group: str | Group = "SO(2)",
        code: Code = "irreps",
        degree: int = 2,
        extra: int = 0,
        predictor: Literal["hyper", "mlp"] = "hyper",
        predictor_layers: Sequence[int] = (),
        width: int | None = None,
        layers: int = 3,
        gather: bool = True,
        check_finite: bool = True,
    ) -> None:
        super().__init__()
        for name, value in (("sim", sim), ("equi", equi), ("std", std), ("cov", cov)):
            if not value >= 0:
                raise ValueError(f"{name}: {value}; a weight is at least 0")
        if predictor not in ("hyper", "mlp"):
            raise ValueError(f"predictor: {predictor!r}; allowed: 'hyper', 'mlp'")
        if layers < 0 or (width is not None and width < 2):
            raise ValueError(f"width, layers: {width}, {layers}; width is at least 2, layers at least 0")
        if any(size < 1 for size in predictor_layers):
            raise ValueError(f"predictor_layers: {list(predictor_layers)}; widths are at least 1")
        if extra < 0:
            raise ValueError(f"extra: {extra}; at least 0 numbers beside the group element")
        self.group, self.extra = parse(group), extra
        self.init_arguments["group"] = str(self.group)
        self.code = GroupCode(self.group, code, degree=degree)
        self.sim, self.equi, self.std, self.cov = sim, equi, std, cov
        self.split, self.kind, self.predictor_layers = split, predictor, tuple(predictor_layers)
        self.width, self.layers, self.gather, self.check_finite = width, layers, gather, check_finite
        self.projector: SplitProjector | None = None
        self.predictor: nn.Module | None = None

    def suited_views(self, dataset: Any) -> Any:
        """Elements of its own group, where that acts on images and is all that there is to tell."""
        return Views(self.group) if dataset.kind == "image" and not self.extra else None

    def setup(self, *, embedding_dim: int, num_classes: int | None = None) -> None:
        """Create projectors and predictor; `num_classes` is not used."""
        if self._same_sizes(embedding_dim=embedding_dim):
            return
        split = embedding_dim // 2 if self.split is None else self.split
        widths = (self.width or 4 * embedding_dim,) * self.layers
        self.projector = SplitProjector(embedding_dim, split, widths)
        moving = self.projector.out_dims[1]
        if moving and self.kind == "hyper":
            hyper = HyperPredictor(moving, self.code.dim + self.extra, layers=self.predictor_layers)
            if not self.predictor_layers:
                hyper.linear.code_scale = self.code.scale
                hyper.linear.reset_parameters()
            self.predictor = hyper
        elif moving:
            self.predictor = ConcatPredictor(moving, self.code.dim + self.extra)

    def encode(self, g: Any) -> Float[Tensor, "batch code"]:
        """The code of each element, and the numbers beside it."""
        if not self.extra:
            return self.code(g)
        numbers = g[1] if isinstance(g, tuple) and len(g) == 2 else None
        if not isinstance(numbers, Tensor) or numbers.ndim != 2 or numbers.shape[1] != self.extra:
            raise ValueError(f"g: with extra={self.extra} it must be (element of {self.group}, [batch, {self.extra}])")
        code = self.code(g[0])
        return torch.cat([code, numbers.to(code)], 1)

    def predict_second(self, z_eq: Float[Tensor, "batch eq"], g: Any) -> Float[Tensor, "batch eq"]:
        """The equivariant half after g, from that before."""
        return z_eq if self.predictor is None else self.predictor(z_eq, self.encode(g).to(z_eq))

    def loss(self, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], predicted: Tensor) -> LossTerms:
        """The loss of two views that are already projected; what an own training loop calls."""
        statistics, weight = None, 1.0
        if self.gather:
            parts = (torch.cat(first, 1), torch.cat(second, 1), predicted)
            one, two, three = (gather_batch(part, self.distributed_kind) for part in parts)
            statistics, weight = (one, two, three), local_weight(first[0])
        terms = sie_terms.sie(
            first,
            second,
            predicted,
            sim=self.sim,
            equi=self.equi,
            std=self.std,
            cov=self.cov,
            statistics=statistics,
            check_finite=self.check_finite,
        )
        local = ("invariance", "equivariance")
        return LossTerms({n: (v * weight if n in local else v, terms.weights[n]) for n, v in terms.items()})

    def _views(self, encoder: nn.Module, batch: PairBatch) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        if batch.x2 is None or batch.g is None:
            raise ValueError(
                "batch: it has no second view x2 or no g between the views; SIE needs both (erlangen.data.Views)"
            )
        if self.projector is None:
            raise RuntimeError("objective: call setup(embedding_dim=...) before the first batch")
        return self.projector(encoder(batch.x)), self.projector(encoder(batch.x2))

    def forward(self, encoder: nn.Module, batch: PairBatch) -> LossTerms:
        first, second = self._views(encoder, batch)
        return self.loss(first, second, self.predict_second(first[1], batch.g))

    def metrics(self, encoder: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
        """How much worse predictions are with another sample's g, and the spread of the embedding."""
        if len(batch) < 2:
            return {}
        first, second = self._views(encoder, batch)
        found = {"embedding_std": encoder(batch.x).float().std(0).mean()}
        if self.predictor is not None:
            code = self.encode(batch.g).to(first[1])
            right, wrong = (self.predictor(first[1], c) for c in (code, code.roll(1, 0)))
            error = (right - second[1]).square().mean()
            found["wrong_code_ratio"] = (wrong - second[1]).square().mean() / error.clamp(min=1e-12)
        return found
