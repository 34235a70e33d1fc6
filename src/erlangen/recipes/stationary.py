"""Stationary representations: updating and replacing the model behind a gallery without embedding it again."""

from __future__ import annotations

import copy

import torch
from torch import nn

from erlangen import train
from erlangen.data import ArrayDataset
from erlangen.deploy.compat import average_compatibility, average_metric, compatibility_matrix
from erlangen.nn.images import PlainCNN
from erlangen.objectives import CrossEntropy, Objective, Stationary
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import images, seeded
from erlangen.recipes.recipe import Budget, recipe

FIRST: dict[str, int] = {"smoke": 1, "laptop": 8, "full": 40}
UPDATE: dict[str, int] = {"smoke": 1, "laptop": 3, "full": 15}
KNOWN, DIM = (5, 7, 9), 64
REGIMES = ("learned", "simplex", "hoc")


@recipe(
    "stationary",
    title="Stationary representations: model replacement without re-indexing",
    source="arXiv:2405.02581",
    claims=[
        Claim("fixed vertices are more compatible than a learned classifier", "simplex.ac", "above", "learned.ac"),
        Claim(
            "higher-order compatibility is more compatible than a learned classifier", "hoc.ac", "above", "learned.ac"
        ),
        Claim("higher-order compatibility adds to fixed vertices", "hoc.ac", "above", "simplex.ac", margin=-1e-6),
        Claim(
            "after the replacement the old galleries serve 20 points better with fixed vertices",
            "simplex.replaced",
            "above",
            "learned.replaced",
            margin=0.2,
        ),
        Claim(
            "fixed vertices cost the last model less than 2 points",
            "simplex.last",
            "above",
            "learned.last",
            margin=-0.02,
        ),
        Claim("so does higher-order compatibility", "hoc.last", "above", "learned.last", margin=-0.02),
        Claim(
            "a replaced model with a learned classifier is near chance (0.1) on old galleries",
            "learned.replaced",
            "below",
            0.1,
            margin=0.15,
            control=True,
        ),
        Claim(
            "the same classes on other vertices are no use to an old gallery",
            "permuted.replaced",
            "below",
            "simplex.replaced",
            margin=-0.2,
            control=True,
        ),
    ],
    uses=[
        "erlangen.objectives.higher_order_compatibility",
        "erlangen.nn.fixed_classifier",
        "erlangen.nn.prototypes",
        "erlangen.deploy.compat.matrix",
        "erlangen.recipes.image_probe",
    ],
    laptop_seeds=3,
    explanation=(
        "Four models in a row on 16 x 16 CIFAR-10: trained on 5 classes, fine-tuned on 7 and on 9, then replaced by a "
        "wider network from scratch. A query by model i searches the gallery of model j <= i, test images of all ten "
        "classes, by 1:N identification. `ac` is the share of pairs in which that beats model j on its own gallery, `aa` "
        "the mean of the matrix, `replaced` the mean of its last row without the last model's own gallery, `last` that "
        "model on its own. `permuted` is the replacement with its classes on other vertices. The published runs have 7 "
        "and 31 updates."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """The same schedule with a learned classifier, with fixed vertices, and with the compatibility term on top."""
    pictures = images(budget)
    x, label = pictures.test.tensors()
    half = len(x) // 2
    gallery, query = (x[:half], label[:half]), (x[half:], label[half:])
    numbers: dict[str, float] = {}
    for regime in REGIMES:
        models = _models(pictures, budget, seed, regime)
        matrix = compatibility_matrix(models, gallery, query)
        numbers |= {
            f"{regime}.ac": average_compatibility(matrix),
            f"{regime}.aa": average_metric(matrix),
            f"{regime}.updated": float(matrix[2, 0]),
            f"{regime}.replaced": float(matrix[-1, :-1].mean()),
            f"{regime}.last": float(matrix[-1, -1]),
        }
        if regime == "simplex":
            moved = pictures.train.subset(torch.arange(len(pictures.train)))
            assert moved.label is not None
            moved.label = (moved.label + 3) % 10
            wrong = _fit(
                _network(pictures, budget, seed + 1000, wide=True), moved, Stationary(), FIRST[budget], seed + 1000
            )
            crossed = compatibility_matrix([*models[:-1], wrong], gallery, query)
            numbers["permuted.replaced"] = float(crossed[-1, :-1].mean())
    return numbers


def _models(pictures: ArrayDataset, budget: Budget, seed: int, regime: str) -> list[nn.Module]:
    models: list[nn.Module] = []
    network = _network(pictures, budget, seed, wide=False)
    classifier = CrossEntropy()  # a learned classifier goes on where it was, as the network does
    for known in KNOWN:
        objective = classifier if regime == "learned" else _fixed(regime, models[-1] if models else None)
        epochs = UPDATE[budget] if models else FIRST[budget]
        models.append(_fit(copy.deepcopy(network), _first_classes(pictures, known), objective, epochs, seed))
        network = models[-1].model  # type: ignore[assignment]
    wide = _network(pictures, budget, seed + 1000, wide=True)
    replacing = CrossEntropy() if regime == "learned" else _fixed(regime, models[-1])
    return [*models, _fit(wide, _first_classes(pictures, KNOWN[-1]), replacing, FIRST[budget], seed + 1000)]


def _fixed(regime: str, old: nn.Module | None) -> Objective:
    return Stationary(old=old if regime == "hoc" else None)


def _network(pictures: ArrayDataset, budget: Budget, seed: int, *, wide: bool) -> nn.Module:
    width = 8 if budget == "smoke" or not wide else 16
    return seeded(lambda: PlainCNN(width, in_channels=pictures.sample_shape[0], embedding_dim=DIM), seed)


def _first_classes(pictures: ArrayDataset, known: int) -> ArrayDataset:
    part = pictures.train
    assert part.label is not None
    return part.subset((part.label < known).nonzero()[:, 0])


def _fit(network: nn.Module, part: ArrayDataset, objective: Objective, epochs: int, seed: int) -> nn.Module:
    run = train.fit(
        network,
        part,
        objective=objective,
        epochs=epochs,
        batch_size=64,
        lr=2e-3,
        val_fraction=0.0,
        seed=seed,
        quiet=True,
    )
    return run.encoder
