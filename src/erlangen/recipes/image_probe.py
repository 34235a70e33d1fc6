"""What the recipes on images share: the images, an encoder of a seed, its features, and a linear probe on them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from erlangen import data
from erlangen.data import ArrayDataset
from erlangen.nn.images import PlainCNN
from erlangen.recipes.recipe import Budget
from erlangen.stats import fit_logistic
from erlangen.train import PreparedEncoder

CHUNK = 500


def images(budget: Budget, *, laptop: int = 3_000, test: int = 1_000) -> ArrayDataset:
    """CIFAR-10 at 16 x 16 pixels, `laptop` of its training images (all at budget "full"); the digits at "smoke".

    The digits ship with scikit-learn, so that a smoke run needs no files.
    """
    if budget == "smoke":
        loaded = data.load("digits")
        kept, asked = 300, 150
    else:
        loaded = data.load("cifar10_subset", image_size=16)
        kept, asked = (laptop if budget == "laptop" else len(loaded.splits["train"])), test
    parts = {"train": loaded.splits["train"][:kept], "test": loaded.splits["test"][:asked]}
    return ArrayDataset(loaded.x, loaded.label, name=loaded.name, class_names=loaded.class_names, splits=parts)


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """What `build` makes with this seed, the caller's random state left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def plain_encoder(images: ArrayDataset, budget: Budget, *, embedding_dim: int = 64) -> PlainCNN:
    """The encoder that all methods are compared on."""
    return PlainCNN(8 if budget == "smoke" else 16, in_channels=images.sample_shape[0], embedding_dim=embedding_dim)


def untrained(encoder: nn.Module, images: ArrayDataset) -> PreparedEncoder:
    """The encoder as initialised, with batch norm statistics of the data: the fair reference of a trained one."""
    prepared = PreparedEncoder(encoder, images.mean, images.std).train()
    with torch.no_grad():
        for _ in range(2):
            for batch in images.train.batches(CHUNK // 5):
                prepared(batch.x)
    return prepared.eval()


def features(encoder: Callable[[Tensor], Tensor], part: ArrayDataset) -> tuple[Tensor, Tensor]:
    """`encoder` on every image of a part, and the labels."""
    with torch.inference_mode():
        rows = torch.cat([encoder(batch.x) for batch in part.batches(CHUNK)])
    return rows.clone(), part.tensors()[1]


def probe_accuracy(fitted: tuple[Tensor, Tensor], asked: tuple[Tensor, Tensor], num_classes: int) -> float:
    """Test accuracy of logistic regression on frozen features."""
    probe = fit_logistic(*fitted, num_classes)
    return float((probe.predict(asked[0]) == asked[1]).double().mean())
