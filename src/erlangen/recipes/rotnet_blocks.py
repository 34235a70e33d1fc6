"""RotNet on network-in-network: which block of a deeper network holds the features that turns teach."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from erlangen import train
from erlangen.data import ArrayDataset
from erlangen.nn.images import NIN
from erlangen.nn.tap import Tap
from erlangen.objectives import GroupPrediction
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import features, images, probe_accuracy, seeded, untrained
from erlangen.recipes.recipe import Budget, recipe

EPOCHS: dict[str, int] = {"smoke": 1, "laptop": 5, "full": 100}
WIDTH: dict[str, int] = {"smoke": 8, "laptop": 24, "full": 192}
BLOCKS = 4
CELLS = 3


@recipe(
    "rotnet_blocks",
    title="RotNet: features by block of a network in network",
    source="arXiv:1803.07728",
    claims=[
        Claim("the second block probes better than a random one", "turns4.block2", "above", "random.block2"),
        Claim("the second block probes better than the last", "turns4.block2", "above", f"turns4.block{BLOCKS}"),
        Claim(
            "the last block probes better than a random one", f"turns4.block{BLOCKS}", "above", f"random.block{BLOCKS}"
        ),
        Claim("four turns teach more than {0, 180} degrees", "turns4.block2", "above", "turns2.block2"),
        Claim("turns are learned: loss below log 4", "turns4.loss", "below", math.log(4)),
        Claim(
            "no block of an untrained network reaches the trained second one",
            "random.best",
            "below",
            "turns4.block2",
            control=True,
        ),
    ],
    uses=["erlangen.objectives.group_prediction", "erlangen.nn.images.nin", "erlangen.recipes.image_probe"],
    laptop_seeds=3,
    explanation=(
        "`blockN` is the test accuracy of logistic regression on block N averaged over 3 x 3 cells. The published network "
        "has 192 channels and sees 50,000 images of 32 x 32 for 100 epochs; here it has 24, 2,000 images of 16 x 16 and "
        "5 epochs, after which the last block is far from specialised."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Four turns, two turns and no training from the same initial network."""
    pictures = images(budget, laptop=2_000)

    def build() -> nn.Module:
        return NIN(WIDTH[budget], in_channels=pictures.sample_shape[0], blocks=BLOCKS)

    random = _blocks(untrained(seeded(build, seed), pictures), pictures)
    numbers = {f"random.{name}": value for name, value in random.items()}
    numbers["random.best"] = max(random.values())
    for name, group in (("turns4", "C4"), ("turns2", "C2")):
        run = train.fit(
            seeded(build, seed),
            pictures,
            objective=GroupPrediction(group),
            epochs=EPOCHS[budget],
            batch_size=64,
            lr=2e-3,
            val_fraction=0.0,
            seed=seed,
            quiet=True,
        )
        numbers |= {f"{name}.{key}": value for key, value in _blocks(run.encoder, pictures).items()}
        numbers[f"{name}.loss"] = run.metrics["test/loss"]
    return numbers


def _blocks(encoder: nn.Module, pictures: ArrayDataset) -> dict[str, float]:
    names = [f"model.stages.{index}" for index in range(BLOCKS)]

    widths: list[int] = []

    def pooled(x: Tensor) -> Tensor:
        with Tap(encoder, layers=names, pool=None) as tap:
            encoder(x)
        parts = [adaptive_avg_pool2d(tap.activations[name], CELLS).flatten(1) for name in names]
        widths[:] = [part.shape[1] for part in parts]
        return torch.cat(parts, 1)

    fitted, asked = features(pooled, pictures.train), features(pooled, pictures.test)
    accuracy, classes = {}, int(pictures.num_classes or 0)
    columns = zip(fitted[0].split(widths, 1), asked[0].split(widths, 1), strict=True)
    for number, (ours, theirs) in enumerate(columns, start=1):
        accuracy[f"block{number}"] = probe_accuracy((ours, fitted[1]), (theirs, asked[1]), classes)
    return accuracy
