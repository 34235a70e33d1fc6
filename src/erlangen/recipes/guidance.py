"""Guidance: networks that do not train by themselves train beside a frozen one, even an untrained one."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from erlangen import data, train
from erlangen.data import ArrayDataset
from erlangen.nn.images import PlainCNN
from erlangen.objectives import Guidance, Objective
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import images, seeded
from erlangen.recipes.recipe import Budget, recipe

DEPTH: dict[str, int] = {"smoke": 6, "laptop": 15, "full": 15}
EPOCHS: dict[str, int] = {"smoke": 1, "laptop": 12, "full": 40}
DENSE_EPOCHS: dict[str, int] = {"smoke": 1, "laptop": 10, "full": 30}
WIDTH, DIM = 8, 32


class DeepPlainCNN(nn.Module):
    """Convolutions and ReLUs without norms or shortcuts: gradients fade over the depth."""

    def __init__(self, depth: int, in_channels: int, *, width: int = WIDTH) -> None:
        super().__init__()
        sizes = [in_channels, *[width] * depth]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU()) for a, b in itertools.pairwise(sizes)
        )
        self.head = nn.Linear(width, DIM)
        self.embedding_dim = DIM

    @property
    def layer_names(self) -> list[str]:
        """Every third layer."""
        return [f"layers.{i}" for i in range(2, len(self.layers), 3)]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean((-2, -1)))


class DeepDense(nn.Module):
    """Twelve dense layers with ReLU, no norms or shortcuts."""

    def __init__(self, features: int, *, width: int = 256, depth: int = 12) -> None:
        super().__init__()
        sizes = [features, *[width] * depth]
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in itertools.pairwise(sizes))
        self.embedding_dim = width

    @property
    def layer_names(self) -> list[str]:
        """Every third layer."""
        return [f"layers.{i}" for i in range(2, len(self.layers), 3)]

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.layers:
            x = layer(x)
        return x


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.inner(x))


class SmallResNet(nn.Module):
    """Residual blocks of one width: the guide of the plain convolutional network."""

    def __init__(self, blocks: int, in_channels: int, *, width: int = WIDTH) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.stages = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.head = nn.Linear(width, DIM)
        self.embedding_dim = DIM

    @property
    def layer_names(self) -> list[str]:
        """The blocks."""
        return [f"stages.{i}" for i in range(len(self.stages))]

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.head(x.mean((-2, -1)))


class OtherImages(nn.Module):
    """A guide that sees the next image of the batch: its features are of another sample."""

    def __init__(self, guide: nn.Module) -> None:
        super().__init__()
        self.guide = guide

    @property
    def layer_names(self) -> list[str]:
        """Those of the guide."""
        return [f"guide.{name}" for name in self.guide.layer_names]  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        return self.guide(x.roll(1, 0))


@recipe(
    "guidance",
    title="Guidance: an untrained network teaches how to be trained",
    source="arXiv:2410.20035",
    claims=[
        Claim("the plain deep CNN by itself stays near chance: below 20 %", "plain.test", "below", 0.2),
        Claim("an untrained residual guide lifts it over 60 %", "plain_untrained.test", "above", 0.6),
        Claim("a trained residual guide lifts it over 60 %", "plain_trained.test", "above", 0.6),
        Claim("its layers do follow the untrained guide: 1 - CKA below 0.3", "plain_untrained.apart", "below", 0.3),
        Claim("the dense network tests better with an untrained guide", "dense_untrained.test", "above", "dense.test"),
        Claim("the dense network tests better with a trained guide", "dense_trained.test", "above", "dense.test"),
        Claim(
            "a trained guide cuts the dense network's gap between training and test by 30 %",
            "dense_trained.excess_gap",
            "below",
        ),
        Claim(
            "a guide that sees other images does not help the plain deep CNN: below 20 %",
            "plain_other_images.test",
            "below",
            0.2,
            control=True,
        ),
        Claim(
            "nor can it be followed",
            "plain_other_images.apart",
            "above",
            "plain_untrained.apart",
            control=True,
        ),
    ],
    uses=["erlangen.objectives.guidance", "erlangen.recipes.image_probe"],
    laptop_seeds=3,
    explanation=(
        "`test` and `train` are accuracies, `apart` is 1 - CKA averaged over the matched layers in the last epoch. The "
        "plain network has 15 convolutions without norms or shortcuts, on the digits of scikit-learn; its guide has "
        "five residual blocks of the same width. With 30 convolutions as torch initialises them what differs between "
        "samples is round-off in the last layers, so that no similarity is defined there. In a trial of 400 steps with "
        "15 the layers came to follow the guide while the cross-entropy stayed at log 10: the similarity is free of "
        "scale, and the activations stayed too small for the classifier. With He's initialisation a network of 30 "
        "convolutions trained by itself and is no example of the claim. The dense network has twelve layers, on 3,000 "
        "images of CIFAR-10 at 16 x 16; its guide is a convolutional network of three stages. Guidance acts in every "
        "step, on every third layer. The published comparison is on ImageNet."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Both networks by themselves, beside a trained and an untrained guide, and beside one that sees other images."""
    digits = data.load("digits")
    epochs, depth = EPOCHS[budget], DEPTH[budget]

    def residual() -> nn.Module:
        return seeded(lambda: SmallResNet(max(2, depth // 3), 1), 1000 + seed)

    taught = _fit(residual(), digits, None, max(1, epochs // 2), seed)
    guides: dict[str, Objective | None] = {
        "plain": None,
        "plain_untrained": Guidance(guide=residual(), untrained=True),
        "plain_trained": Guidance(guide=taught.encoder),
        "plain_other_images": Guidance(guide=OtherImages(residual()), untrained=True),
    }
    numbers = {"taught.test": _accuracy(taught, digits.test)}
    for name, objective in guides.items():
        run = _fit(seeded(lambda: DeepPlainCNN(depth, 1), seed), digits, objective, epochs, seed)
        numbers |= {f"{name}.test": _accuracy(run, digits.test), f"{name}.train": _accuracy(run, digits.train)}
        if isinstance(objective, Guidance):
            numbers[f"{name}.apart"] = run.history[-1]["train/misalignment"] / len(objective.pairs)
    return numbers | _dense(budget, seed)


def _dense(budget: Budget, seed: int) -> dict[str, float]:
    pictures, epochs = images(budget), DENSE_EPOCHS[budget]
    channels, height, width = pictures.sample_shape

    def convolutional() -> nn.Module:
        return seeded(lambda: PlainCNN(8, in_channels=channels, embedding_dim=64), 1000 + seed)

    taught = _fit(convolutional(), pictures, None, max(1, epochs // 2), seed)
    numbers = {"convolutional.test": _accuracy(taught, pictures.test)}
    for name, objective in {
        "dense": None,
        "dense_untrained": Guidance(guide=convolutional(), untrained=True),
        "dense_trained": Guidance(guide=taught.encoder),
    }.items():
        encoder = seeded(lambda: DeepDense(channels * height * width), seed)
        run = _fit(encoder, pictures, objective, epochs, seed)
        test, fitted = _accuracy(run, pictures.test), _accuracy(run, pictures.train)
        numbers |= {f"{name}.test": test, f"{name}.train": fitted, f"{name}.gap": fitted - test}
    return numbers | {"dense_trained.excess_gap": numbers["dense_trained.gap"] - 0.7 * numbers["dense.gap"]}


def _fit(encoder: nn.Module, pictures: ArrayDataset, objective: Objective | None, epochs: int, seed: int) -> train.Run:
    return train.fit(
        encoder,
        pictures,
        objective=objective or "cross_entropy",
        epochs=epochs,
        batch_size=64,
        lr=1e-3,
        val_fraction=0.0,
        seed=seed,
        quiet=True,
    )


def _accuracy(run: train.Run, part: ArrayDataset) -> float:
    right = 0
    with torch.inference_mode():
        for batch in part.batches(250):
            logits = run.objective.predict(run.encoder(batch.x))  # type: ignore[operator]
            right += int((logits.argmax(1) == batch.label).sum())
    return right / len(part)
