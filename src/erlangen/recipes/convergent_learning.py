"""Convergent learning: how much of one network's code another finds, unit by unit and subspace by subspace."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from erlangen import data
from erlangen.audit.alignment import PairMoments, converge, sparse_map
from erlangen.data import ArrayDataset
from erlangen.nn.tap import Tap
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import seeded
from erlangen.recipes.recipe import Budget, recipe

EPOCHS: dict[str, int] = {"smoke": 1, "laptop": 5, "full": 20}
TRAIN: dict[str, int] = {"smoke": 300, "laptop": 4_096, "full": 30_000}
TEST: dict[str, int] = {"smoke": 120, "laptop": 1_000, "full": 5_000}
LAYERS = ("0", "2", "4")
PENALTIES = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0)


class SmallCNN(nn.Sequential):
    """Three convolutions with 16, 24 and 32 channels and a linear classifier."""

    def __init__(self, size: int, num_classes: int) -> None:
        half = (size + 3) // 4
        super().__init__(
            nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()),
            nn.Identity(),
            nn.Sequential(nn.Conv2d(16, 24, 3, stride=2, padding=1), nn.ReLU()),
            nn.Identity(),
            nn.Sequential(nn.Conv2d(24, 32, 3, stride=2, padding=1), nn.ReLU()),
            nn.Flatten(),
            nn.Linear(32 * half * half, num_classes),
        )


@recipe(
    "convergent_learning",
    title="Networks of other seeds share a core of units, and subspaces more than units",
    source="arXiv:1511.07543",
    claims=[
        Claim("some units have a partner, others have none", "layer3.core", "above", "layer3.tail", margin=0.3),
        Claim("units of the first layer match better than of the third", "layer1.matched", "above", "layer3.matched"),
        Claim(
            "subspaces are shared more than units in layer 2", "layer2.subspace", "above", "layer2.matched", margin=0.15
        ),
        Claim(
            "subspaces are shared more than units in layer 3", "layer3.subspace", "above", "layer3.matched", margin=0.15
        ),
        Claim("a unit takes more than one unit of the other network", "layer3.active", "above", 1.5),
        Claim("a unit takes fewer than half of them", "layer3.active", "below", 16.0),
        Claim("a network predicts its own units better", "layer3.within_left", "below", "layer3.between_left"),
        Claim("trained networks match better than untrained ones", "layer3.matched", "above", "layer3.untrained"),
        Claim("on unlike images nothing matches", "layer3.shuffled", "below", 0.1, control=True),
    ],
    uses=[
        "erlangen.audit.alignment.convergence",
        "erlangen.audit.alignment.matching",
        "erlangen.audit.alignment.moments",
        "erlangen.audit.alignment.sparse",
        "erlangen.audit.alignment.subspaces",
    ],
    laptop_seeds=5,
    explanation=(
        "Four networks of other initial weights and batches on Fashion-MNIST at 14 x 14 (the paper: AlexNet on ImageNet); "
        "means over three pairs. `matched` is the mean correlation of one-to-one partners on images on which they were not "
        "chosen, `core` and `tail` the best and worst quarter of them, `subspace` the mean cosine of the principal angles of "
        "the components that hold 90 % of the variance, `active` the units that the sparsest map within 10 % of least "
        "squares uses, `left` the variance that least squares leaves on other images. In networks as "
        "small as these most single units match already, which leaves subspaces little to add."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Four networks, three pairs, three layers."""
    images = _images(budget)
    size, classes = images.sample_shape[-1], int(images.num_classes or 0)
    nets = [seeded(lambda: SmallCNN(size, classes), 100 * seed + i) for i in range(4)]
    x = images.test.tensors()[0]
    fresh = [_activations(net, x) for net in nets[:2]]
    for i, net in enumerate(nets):
        _train(net, images, EPOCHS[budget], torch.Generator().manual_seed(1_000 + 100 * seed + i))
    trained = [_activations(net, x) for net in nets]
    generator = torch.Generator().manual_seed(seed)
    numbers: dict[str, float] = {}
    for place, layer in enumerate(LAYERS, 1):
        pairs = [
            _pair(trained[i][layer], trained[i + 1][layer], generator, sparse=layer == LAYERS[-1]) for i in range(3)
        ]
        for name in pairs[0]:
            numbers[f"layer{place}.{name}"] = sum(pair[name] for pair in pairs) / len(pairs)
        untrained = converge(fresh[0][layer], fresh[1][layer], resamples=2, shuffles=1, generator=generator)
        numbers[f"layer{place}.untrained"] = untrained.mean
    return numbers


def _pair(a: Tensor, b: Tensor, generator: torch.Generator, *, sparse: bool) -> dict[str, float]:
    found = converge(a, b, resamples=2, shuffles=5, generator=generator)
    ordered = found.correlation.sort(descending=True).values
    quarter = max(1, len(ordered) // 4)
    numbers = {
        "matched": found.mean,
        "core": float(ordered[:quarter].mean()),
        "tail": float(ordered[-quarter:].mean()),
        "subspace": found.subspace,
        "in_sample": found.in_sample_mean,
        "shuffled": found.null_mean,
    }
    if sparse:
        half = len(a) // 2
        fit, other = PairMoments.of(a[:half], b[:half]), PairMoments.of(a[half:], b[half:])
        between, within = sparse_map(fit, alphas=PENALTIES), sparse_map(fit, alphas=(0.0,), within=True)
        enough = between.error <= between.error[-1] + 0.1
        numbers["active"] = float(between.active[enough][0])
        numbers["between_left"] = float(between.evaluate(other)[-1])
        numbers["within_left"] = float(within.evaluate(PairMoments.of(a[half:], a[half:]))[-1])
    return numbers


def _images(budget: Budget) -> ArrayDataset:
    loaded = data.load("digits") if budget == "smoke" else data.load("fashion_mnist", image_size=14)
    parts = {"train": loaded.splits["train"][: TRAIN[budget]], "test": loaded.splits["test"][: TEST[budget]]}
    return ArrayDataset(loaded.x, loaded.label, name=loaded.name, class_names=loaded.class_names, splits=parts)


def _batches(count: int, epochs: int, generator: torch.Generator) -> Iterator[Tensor]:
    for _ in range(epochs):
        yield from torch.randperm(count, generator=generator).split(128)


def _train(net: nn.Module, images: ArrayDataset, epochs: int, generator: torch.Generator) -> None:
    x, label = images.train.tensors()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for rows in _batches(len(x), epochs, generator):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[rows]), label[rows]).backward()
        optimizer.step()


def _activations(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    with torch.no_grad(), Tap(net, list(LAYERS), pool=None) as tap:
        net(x)
    return dict(tap.activations)
