"""Intrinsic dimension of objective landscapes: how many random directions of weight space training needs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from erlangen import data
from erlangen.audit.finding import Finding
from erlangen.audit.landscape import intrinsic_dimension
from erlangen.recipes.claim import Claim
from erlangen.recipes.recipe import Budget, recipe

STEPS: dict[str, int] = {"smoke": 20, "laptop": 250, "full": 2_000}
DIMS: dict[str, tuple[int, ...]] = {
    "smoke": (5, 40, 320),
    "laptop": (20, 40, 80, 160, 320, 640, 1280),
    "full": (10, 20, 40, 80, 160, 320, 640, 1280, 2560),
}


def dense(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
    )


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 10),
    )


@recipe(
    "landscape_dimension",
    title="Intrinsic dimension: training needs a small random subspace, whatever the width",
    source="arXiv:1804.08838",
    claims=[
        Claim("ten constraints on a thousand weights: not solved in 9 dimensions", "toy.residual_9", "above", 1e-6),
        Claim("ten constraints on a thousand weights: solved in 10 dimensions", "toy.residual_10", "below", 1e-12),
        Claim("a dense network needs under a tenth of its weights", "dense.share", "below", 0.1),
        Claim("eleven times the weights change the dimension by less than a factor 2 (up)", "width.log2", "below", 1.0),
        Claim(
            "eleven times the weights change the dimension by less than a factor 2 (down)", "width.log2", "above", -1.0
        ),
        Claim("shuffled pixels change nothing for a dense network (up)", "dense_shuffled.log2", "below", 0.5),
        Claim("shuffled pixels change nothing for a dense network (down)", "dense_shuffled.log2", "above", -0.5),
        Claim("shuffled pixels cost a convolutional network 1.5 times as much", "cnn_shuffled.log2", "above", 0.585),
        Claim(
            "random labels need at least 5 times the dimensions of true ones",
            "random_labels.log2",
            "above",
            math.log2(5),
            control=True,
        ),
    ],
    uses=[
        "erlangen.audit.landscape.intrinsic",
        "erlangen.audit.landscape.projections",
        "erlangen.audit.landscape.subspace_model",
        "erlangen.groups.hadamard",
    ],
    laptop_seeds=3,
    explanation=(
        "Digits of 8 x 8 pixels; `d90` is the dimension at which a Fastfood subspace reaches 90 % of the direct score, on "
        "held-out digits, or on the training digits for the random labels and the true ones they are compared with. "
        "`log2` is the binary logarithm of a ratio: width 160 to 32 (11 times the weights), shuffled to ordered pixels, "
        "random to true labels. A dimension that is not reached counts as the largest tried, 1,280."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """The toy in closed form; dense and convolutional networks on digits, all dimensions of each at once."""
    digits = data.load("digits")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(digits), generator=generator)
    x = digits.x[order].float().view(-1, 1, 8, 8)
    x, y = (x - x.mean()) / x.std(), digits.label[order]
    shuffled = x.flatten(1)[:, torch.randperm(64, generator=generator)].view_as(x)
    few = 200 if budget == "smoke" else 400
    wrong = y[:few][torch.randperm(few, generator=generator)]

    def d90(name: str, build: object, inputs: Tensor, labels: Tensor, *, fit: bool = False) -> float:
        pair = (inputs, labels)
        found = intrinsic_dimension(
            build,  # type: ignore[arg-type]
            pair,
            validation=pair if fit else 0.25,
            dims=DIMS[budget],
            seeds=1,
            steps=STEPS[budget] * (2 if fit else 1),
            rates=(1.0, 3.0),
            batch_size=64,
            seed=seed,
        )
        numbers[f"{name}.d90"] = _capped(found, DIMS[budget][-1])
        numbers[f"{name}.score"] = float(found.details["direct_score"])
        return numbers[f"{name}.d90"]

    numbers: dict[str, float] = _toy(seed)
    small = d90("dense", lambda: dense(32), x, y)
    numbers["dense.share"] = small / 3466
    numbers["width.log2"] = math.log2(d90("dense_wide", lambda: dense(160), x, y) / small)
    numbers["dense_shuffled.log2"] = math.log2(d90("dense_shuffled", lambda: dense(32), shuffled, y) / small)
    ordered = d90("cnn", convolutional, x, y)
    numbers["cnn_shuffled.log2"] = math.log2(d90("cnn_shuffled", convolutional, shuffled, y) / ordered)
    true = d90("true_labels", lambda: dense(32), x[:few], y[:few], fit=True)
    numbers["random_labels.log2"] = math.log2(d90("random_labels", lambda: dense(32), x[:few], wrong, fit=True) / true)
    return numbers


def _capped(found: Finding, largest: int) -> float:
    return max(1.0, min(found.value, float(largest)))


def _toy(seed: int) -> dict[str, float]:
    """The least residual of ten sums over a hundred weights each, in random subspaces of 9 and of 10 dimensions."""
    from erlangen.audit.landscape import make_projection

    generator = torch.Generator().manual_seed(seed)
    start, target = (torch.randn(n, generator=generator, dtype=torch.float64) for n in (1000, 10))
    residuals = {}
    for dim in (9, 10):
        projection = make_projection("fastfood", dim, [1000], seed=seed, dtype=torch.float64)
        moved = projection(torch.eye(dim, dtype=torch.float64)).view(dim, 10, 100).sum(2).T
        wanted = target - start.view(10, 100).sum(1)
        rest = moved @ torch.linalg.lstsq(moved, wanted).solution - wanted
        residuals[f"toy.residual_{dim}"] = float(rest.square().mean())
    return residuals
