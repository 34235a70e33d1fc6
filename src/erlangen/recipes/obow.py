"""OBoW: whether a vocabulary built while training teaches more than a random one, a frozen teacher and contrast."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from erlangen import train
from erlangen.data import Crops
from erlangen.objectives import NTXent, OBoW
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import features, images, plain_encoder, probe_accuracy, seeded, untrained
from erlangen.recipes.recipe import Budget, recipe

EPOCHS: dict[str, int] = {"smoke": 1, "laptop": 8, "full": 60}
AREA = (0.35, 1.0)
LOOK = {"area": AREA, "blur": 0.0, "brightness": 0.3, "contrast": 0.3, "saturation": 0.3}


class Strangers:
    """The views of `Crops`, the second one of the next image in the batch."""

    def __init__(self, views: Crops) -> None:
        self.views = views

    def __call__(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, None]:
        first, second, _ = self.views(x, generator)
        return first, second.roll(1, 0), None

    def __repr__(self) -> str:
        return f"Strangers({self.views})"


@recipe(
    "obow",
    title="OBoW: predict the visual words of the whole image from a crop",
    source="arXiv:2012.11552",
    claims=[
        Claim("OBoW probes better than a random encoder", "online.probe", "above", "random.probe"),
        Claim("words gathered while training beat random words", "online.probe", "above", "random_words.probe"),
        Claim("a teacher that follows beats one that stays", "online.probe", "above", "frozen.probe"),
        Claim("OBoW is within a point of contrast (SimCLR)", "online.probe", "above", "simclr.probe", margin=-0.01),
        Claim(
            "a batch holds more words than an image: no collapse", "online.words_batch", "above", "online.words_image"
        ),
        Claim(
            "the words of another image teach less than one's own",
            "strangers.probe",
            "below",
            "online.probe",
            control=True,
        ),
    ],
    uses=[
        "erlangen.objectives.obow",
        "erlangen.objectives.bow_targets",
        "erlangen.objectives.contrastive",
        "erlangen.nn.hyper.dynamic_head",
        "erlangen.data.crops",
        "erlangen.recipes.image_probe",
    ],
    laptop_seeds=3,
    explanation=(
        "`probe` is the test accuracy of logistic regression on the embedding, `words_image` and `words_batch` are the "
        "perplexities of one bag and of the mean of 128. The published comparison is on ImageNet with a ResNet-50 for 200 "
        "epochs and 8,192 words; here it is a small network on 16 x 16 CIFAR-10 for a few epochs and 256 words from "
        "its 8 x 8 maps. `random_words` keeps the vocabulary of the start, `frozen` the teacher of the start; a random "
        "teacher is a good one at the beginning, and a few epochs are mostly beginning."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Each way of making words, and contrast, from the same initial encoder and for as many epochs."""
    pictures = images(budget, laptop=2_000)
    small = budget == "smoke"
    layers = ["model.stages.0" if small else "model.stages.1"]
    words: dict[str, Any] = {"num_words": 256, "layers": layers}
    whole = Crops(first="whole", **LOOK)
    runs: dict[str, tuple[Any, Any]] = {
        "online": (OBoW(**words), whole),
        "random_words": (OBoW(**words, update="none"), whole),
        "frozen": (OBoW(**words, alpha=1.0), whole),
        "strangers": (OBoW(**words), Strangers(whole)),
        "simclr": (NTXent(), Crops(**LOOK)),
    }
    classes = int(pictures.num_classes or 0)
    reference = untrained(seeded(lambda: plain_encoder(pictures, budget), seed), pictures)
    numbers = {
        "random.probe": probe_accuracy(features(reference, pictures.train), features(reference, pictures.test), classes)
    }
    for name, (objective, views) in runs.items():
        run = train.fit(
            seeded(lambda: plain_encoder(pictures, budget), seed),
            pictures,
            objective=objective,
            views=views,
            epochs=EPOCHS[budget],
            batch_size=64 if small else 128,
            lr=2e-3,
            val_fraction=0.0,
            seed=seed,
            quiet=True,
        )
        accuracy = probe_accuracy(features(run.encoder, pictures.train), features(run.encoder, pictures.test), classes)
        numbers[f"{name}.probe"] = accuracy
        if name == "online":
            numbers["online.words_image"] = run.metrics["test/perplexity_image"]
            numbers["online.words_batch"] = run.metrics["test/perplexity_batch"]
    return numbers
