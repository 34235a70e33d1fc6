"""VICReg: which of its terms keeps the embedding from collapsing, and what that is worth to a linear probe."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from erlangen import train
from erlangen.data import ArrayDataset
from erlangen.objectives import VICReg
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import features, images, plain_encoder, probe_accuracy, seeded, untrained
from erlangen.recipes.recipe import Budget, recipe
from erlangen.stats import rankme

WEIGHTS = {
    "inv": (25.0, 0.0, 0.0),
    "inv+cov": (25.0, 0.0, 1.0),
    "inv+var": (25.0, 25.0, 0.0),
    "all": (25.0, 25.0, 1.0),
}
EPOCHS: dict[str, int] = {"smoke": 1, "laptop": 8, "full": 60}
COLLAPSED = 0.05
BATCH = 128
ADAM = {"optimizer": "adamw", "lr": 2e-3}
LARS = {"optimizer": "lars", "lr": 0.2 * BATCH / 256}


class CropViews:
    """`(x, generator) -> (x1, x2, None)`: two crops, each flipped at random and with gain and offset per channel.

    A crop shows 35 to 100 % of the area. With `unrelated` the second view is of the next image in the batch.
    """

    def __init__(self, *, unrelated: bool = False, flips: bool = True) -> None:
        self.unrelated, self.flips = unrelated, flips

    def __call__(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, None]:
        other = x.roll(1, 0) if self.unrelated else x
        return self._view(x, generator), self._view(other, generator), None

    def _view(self, x: Tensor, generator: torch.Generator) -> Tensor:
        n, channels = x.shape[:2]
        side = (0.35 + 0.65 * torch.rand(n, generator=generator)).sqrt()
        flip = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0) if self.flips else torch.ones(n)
        shift = (2 * torch.rand(n, 2, generator=generator) - 1) * (1 - side)[:, None]
        theta = torch.zeros(n, 2, 3)
        theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = side * flip, side, shift
        crop = grid_sample(x, affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)
        gain = (0.3 * torch.randn(n, channels, 1, 1, generator=generator)).exp()
        return crop * gain + 0.1 * torch.randn(n, channels, 1, 1, generator=generator)

    def __repr__(self) -> str:
        return f"CropViews(unrelated={self.unrelated}, flips={self.flips})"


@recipe(
    "vicreg",
    title="VICReg: variance, invariance, covariance",
    source="arXiv:2105.04906",
    claims=[
        Claim("invariance alone collapses: expanded std below 0.05", "inv.expanded_std", "below", COLLAPSED),
        Claim("covariance does not prevent it: expanded std below 0.05", "inv+cov.expanded_std", "below", COLLAPSED),
        Claim("the variance term prevents it: std at least 10 x that", "inv+var.expanded_std", "above", 10 * COLLAPSED),
        Claim("the full loss uses more directions than without covariance", "all.rank", "above", "inv+var.rank"),
        Claim("the full loss probes better than a random encoder", "all.probe", "above", "random.probe"),
        Claim("the full loss probes better than without covariance", "all.probe", "above", "inv+var.probe"),
        Claim("the full loss probes better than invariance alone", "all.probe", "above", "inv.probe"),
        Claim("trained by LARS at the published rate it does not collapse", "lars.expanded_std", "above", COLLAPSED),
        Claim("and probes better than invariance alone", "lars.probe", "above", "inv.probe"),
        Claim(
            "views of unrelated images teach less than views of one image",
            "unrelated.probe",
            "below",
            "all.probe",
            control=True,
        ),
    ],
    uses=[
        "erlangen.objectives.vicreg",
        "erlangen.objectives.vicreg_terms",
        "erlangen.train.lars",
        "erlangen.train.optimization",
        "erlangen.recipes.image_probe",
    ],
    laptop_seeds=3,
    explanation=(
        "`std` and `rank` (RankMe) are of the embedding, `expanded_std` is of the expander's output, where the loss "
        "acts, all on test images; `probe` is the test accuracy of logistic regression on the embedding. The published "
        "comparison is on ImageNet with a ResNet-50 and an expander of 8,192; here it is a small network on 16 x 16 "
        "CIFAR-10 for a few epochs, by AdamW, and in `lars` as published: LARS with the rate 0.2 batch / 256, decay 1e-6 and a "
        "warm-up before a cosine, which is meant for a hundred times as many steps."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Each combination of terms from the same initial encoder."""
    pictures = images(budget)
    numbers: dict[str, float] = {}
    reference = untrained(seeded(lambda: plain_encoder(pictures, budget), seed), pictures)
    numbers |= {f"random.{name}": value for name, value in _embedding(reference, pictures).items()}
    for name, weights in {**WEIGHTS, "lars": WEIGHTS["all"], "unrelated": WEIGHTS["all"]}.items():
        objective = VICReg(*weights, width=64 if budget == "smoke" else 256)
        run = train.fit(
            seeded(lambda: plain_encoder(pictures, budget), seed),
            pictures,
            objective=objective,
            views=CropViews(unrelated=name == "unrelated", flips=budget != "smoke"),
            epochs=EPOCHS[budget],
            batch_size=BATCH,
            **(LARS if name == "lars" else ADAM),  # type: ignore[arg-type]
            weight_decay=1e-6,
            val_fraction=0.0,
            seed=seed,
            quiet=True,
        )
        measured = _embedding(run.encoder, pictures) | {"expanded_std": _expanded_std(run, pictures)}
        numbers |= {f"{name}.{key}": value for key, value in measured.items()}
    return numbers


def _embedding(encoder: nn.Module, pictures: ArrayDataset) -> dict[str, float]:
    fitted, asked = features(encoder, pictures.train), features(encoder, pictures.test)
    rank = float(rankme(asked[0] - asked[0].mean(0)))
    return {
        "std": float(asked[0].std(0).mean()),
        "rank": rank if math.isfinite(rank) else 0.0,
        "probe": probe_accuracy(fitted, asked, int(pictures.num_classes or 0)),
    }


def _expanded_std(run: train.Run, pictures: ArrayDataset) -> float:
    """Spread of the expanded test images, normalised as a batch in training is: where the loss acts."""
    expander = run.objective.expander
    assert isinstance(expander, nn.Module)
    rows, _ = features(run.encoder, pictures.test)
    with torch.no_grad():
        return float(expander.train()(rows).std(0).mean())
