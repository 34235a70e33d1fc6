"""A siamese network without stop-gradient collapses; the variance term alone keeps it from doing so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from erlangen import train
from erlangen.data import Crops, PairBatch
from erlangen.nn.heads import Projector
from erlangen.objectives import LossTerms, Objective
from erlangen.objectives.functional import covariance_loss, variance_loss
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import features, images, plain_encoder, probe_accuracy, seeded, untrained
from erlangen.recipes.recipe import Budget, recipe
from erlangen.stats.spectrum import effective_rank

EPOCHS: dict[str, int] = {"smoke": 1, "laptop": 6, "full": 60}
WIDTH = 64


class Siamese(Objective):
    """SimSiam: two views agree through a predictor; optionally with the variance (and covariance) term of VICReg.

    X. Chen, K. He, "Exploring Simple Siamese Representation Learning", 2020, arXiv:2011.10566. The regularisers act on
    the projections, as in VICReg, with its weights relative to its invariance term (std = 1, cov = 1/25).
    """

    views: ClassVar[Literal["single", "pair"]] = "pair"
    healthy: ClassVar[dict[str, str]] = {"spread": "stays near 1; near 0 all projections point one way: collapse"}

    def __init__(self, *, stop_gradient: bool, std: float = 0.0, cov: float = 0.0) -> None:
        super().__init__()
        self.stop_gradient, self.std, self.cov = stop_gradient, std, cov

    def setup(self, *, embedding_dim: int, num_classes: int | None = None) -> None:
        """Create projector and predictor."""
        if not self._same_sizes(embedding_dim=embedding_dim):
            self.projector = Projector(embedding_dim, WIDTH)
            self.predictor = Projector(WIDTH, WIDTH, hidden_dim=WIDTH // 4)

    def forward(self, encoder: nn.Module, batch: PairBatch) -> LossTerms:
        assert batch.x2 is not None
        z1, z2 = self.projector(encoder(batch.x)), self.projector(encoder(batch.x2))

        def towards(z: Tensor, target: Tensor) -> Tensor:
            target = target.detach() if self.stop_gradient else target
            return 1 - F.cosine_similarity(self.predictor(z), target).mean()

        terms = {
            "agreement": ((towards(z1, z2) + towards(z2, z1)) / 2, 1.0),
            "variance": ((variance_loss(z1) + variance_loss(z2)) / 2, self.std),
            "covariance": (covariance_loss(z1) + covariance_loss(z2), self.cov),
            "spread": (WIDTH**0.5 * F.normalize(z1, dim=1).std(0).mean(), 0.0),
        }
        return LossTerms(terms)

    def alarm(self, values: Mapping[str, float]) -> str | None:
        spread = values.get("spread", 1.0)
        return (
            f"collapse: all projections point one way (spread {spread:.2f}, healthy near 1)" if spread < 0.2 else None
        )


WAYS: dict[str, dict[str, Any]] = {
    "simsiam": {"stop_gradient": True},
    "without": {"stop_gradient": False},
    "without+var": {"stop_gradient": False, "std": 1.0},
    "without+var+cov": {"stop_gradient": False, "std": 1.0, "cov": 0.04},
}


@recipe(
    "simsiam_variance",
    title="The variance term in place of the stop-gradient",
    source="arXiv:2105.04906",
    claims=[
        Claim("without stop-gradient the views agree fully", "without.agreement", "below", 0.02),
        Claim("and all projections point one way: spread below 0.2", "without.spread", "below", 0.2),
        Claim("the variance term prevents that: spread above 0.2", "without+var.spread", "above", 0.2),
        Claim("and the embedding probes better for it", "without+var.probe", "above", "without.probe"),
        Claim("covariance adds directions", "without+var+cov.rank", "above", "without+var.rank"),
        Claim("the collapsed run is named as one", "without.named", "above", 0.5, control=True),
    ],
    uses=["erlangen.objectives.vicreg_terms", "erlangen.objectives.collapse", "erlangen.recipes.image_probe"],
    laptop_seeds=3,
    explanation=(
        "`agreement` (1 - cosine) and `spread` (the standard deviation of the unit projections, 1 where directions are "
        "uniform) are training means of the last epoch; `named` is 1 where the run says that it collapsed; `rank` and "
        "`probe` are of the embedding on test images. Batch norm inside projector and predictor slows a collapse down, "
        "and a few epochs may not complete it. The cosine does not see scale or a common offset: projections that vary "
        "by one in every dimension, as the variance term asks, may still all point one way, far from the origin and along "
        "one line, which only the covariance term rules out. The published statement is on ImageNet, and a few epochs of "
        "this objective probe below the random encoder."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Each way from the same initial encoder."""
    pictures = images(budget, laptop=2_000)
    classes = int(pictures.num_classes or 0)

    def probed(encoder: nn.Module) -> dict[str, float]:
        fitted, asked = features(encoder, pictures.train), features(encoder, pictures.test)
        return {"probe": probe_accuracy(fitted, asked, classes), "rank": float(effective_rank(asked[0]))}

    reference = untrained(seeded(lambda: plain_encoder(pictures, budget), seed), pictures)
    numbers = {f"random.{key}": value for key, value in probed(reference).items()}
    for name, arguments in WAYS.items():
        run = train.fit(
            seeded(lambda: plain_encoder(pictures, budget), seed),
            pictures,
            objective=Siamese(**arguments),
            views=Crops(area=(0.35, 1.0), blur=0.0),
            epochs=EPOCHS[budget],
            batch_size=64 if budget == "smoke" else 128,
            lr=2e-3,
            val_fraction=0.0,
            seed=seed,
            quiet=True,
        )
        last = run.history[-1]
        measured = {term: last[f"train/{term}"] for term in ("agreement", "spread", "variance")}
        measured |= {"named": float(run.collapse is not None), **probed(run.encoder)}
        numbers |= {f"{name}.{key}": value for key, value in measured.items()}
    return numbers
