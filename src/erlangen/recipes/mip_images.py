"""MIP, second part: a convolutional classifier whose weights depend on how strongly its images are disturbed."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erlangen.nn.hyper import HyperNet
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import images, seeded
from erlangen.recipes.recipe import Budget, recipe

STEPS: dict[str, int] = {"smoke": 20, "laptop": 240, "full": 4000}
EVERY = 10
BATCH = 64
VARIANTS: dict[str, dict[str, object]] = {
    "none": {"encoding": "none", "residual": False},
    "layer_norm": {"encoding": "none", "residual": False, "layer_norm": True},
    "mip": {"encoding": "mip", "residual": True},
}
RATES = {"sgd": (0.03, 0.01, 0.1), "adam": (1e-3, 3e-4, 3e-3)}
ASKED = (0.05, 0.5, 0.95)


@recipe(
    "mip_images",
    title="Magnitude invariant parametrizations: a classifier that is told how its images are disturbed",
    source="arXiv:2304.07645",
    claims=[
        Claim("SGD: in at most 0.6 of the steps where the plain hypernetwork ends", "sgd.mip.steps", "below", 0.6),
        Claim("Adam: in at most 0.6 of the steps where the plain hypernetwork ends", "adam.mip.steps", "below", 0.6),
        Claim("SGD: a lower loss than the plain hypernetwork", "sgd.mip.loss", "below", "sgd.none.loss"),
        Claim("Adam: a lower loss than the plain hypernetwork", "adam.mip.loss", "below", "adam.none.loss"),
        Claim("SGD: layer norms in the hypernetwork are not enough", "sgd.mip.loss", "below", "sgd.layer_norm.loss"),
        Claim("told the wrong strength it does worse", "wrong.loss", "above", "adam.mip.loss", control=True),
    ],
    uses=["erlangen.nn.hyper.hyper_net", "erlangen.nn.hyper.magnitude_invariant", "erlangen.recipes.image_probe"],
    laptop_seeds=3,
    explanation=(
        "A network of two convolutions on 16 x 16 CIFAR-10; the code is the strength, between 0 and 1, of noise and of a "
        "random change of contrast, one for each batch. `loss` is the cross-entropy on test images, the mean over three "
        "strengths, after the last step, at the best of three learning rates for each variant; `steps` the share of the "
        "steps after which the loss is where the plain hypernetwork ends, 1 where it never is. `wrong` is told 1 minus the "
        "strength."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Every variant from one seed, with the same batches and disturbances."""
    pictures = images(budget, laptop=8_000, test=500)
    train, test = pictures.train.tensors(), pictures.test.tensors()
    mean, std = train[0].mean((0, 2, 3), keepdim=True), train[0].std((0, 2, 3), keepdim=True)
    train, test = ((train[0] - mean) / std, train[1]), ((test[0] - mean) / std, test[1])
    numbers: dict[str, float] = {}
    for optimizer, every in RATES.items():
        rates = every[:1] if budget == "smoke" else every
        found = {
            name: min(
                (_curve(name, optimizer, rate, train, test, budget, seed) for rate in rates), key=lambda c: c[0][-1]
            )
            for name in VARIANTS
        }
        goal = found["none"][0][-1]
        for name, (curve, wrong) in found.items():
            reached = next((k for k, loss in enumerate(curve) if loss <= goal), len(curve) - 1)
            numbers |= {f"{optimizer}.{name}.loss": curve[-1], f"{optimizer}.{name}.steps": reached / (len(curve) - 1)}
            if (optimizer, name) == ("adam", "mip"):
                numbers["wrong.loss"] = wrong
    return numbers


def _network(name: str, seed: int, shape: torch.Size) -> HyperNet:
    channels, height, width = shape

    def build() -> HyperNet:
        inside = 16 * math.ceil(height / 4) * math.ceil(width / 4)
        target = nn.Sequential(
            nn.Conv2d(channels, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(inside, 10),
        )
        return HyperNet(1, target, **VARIANTS[name])  # type: ignore[arg-type]

    network = seeded(build, seed)
    assert isinstance(network, HyperNet)
    return network


def _disturbed(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Contrast by a factor up to e^strength either way, then noise of that standard deviation, image by image."""
    factor = (strength * (2 * torch.rand(len(x), 1, 1, 1, generator=generator) - 1)).exp()
    return factor * x + strength * torch.randn(x.shape, generator=generator)


def _curve(
    name: str,
    optimizer: str,
    rate: float,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    budget: Budget,
    seed: int,
) -> tuple[list[float], float]:
    """The loss on test images before training and after every few steps, and at the end with wrong codes."""
    network = _network(name, seed, train[0].shape[1:])
    kind = torch.optim.SGD if optimizer == "sgd" else torch.optim.Adam
    extra = {"momentum": 0.9} if optimizer == "sgd" else {}
    steps = kind([p for p in network.parameters() if p.requires_grad], lr=rate, **extra)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    fixed = [(strength, _disturbed(test[0], strength, generator)) for strength in ASKED]

    @torch.no_grad()
    def asked(*, wrong: bool = False) -> float:
        losses = [
            float(F.cross_entropy(network(x, code=torch.tensor([1 - s if wrong else s])), test[1])) for s, x in fixed
        ]
        loss = sum(losses) / len(losses)
        return loss if math.isfinite(loss) else math.inf

    curve = [asked()]
    for step in range(1, STEPS[budget] + 1):
        rows = torch.randint(len(train[0]), (BATCH,), generator=generator)
        strength = float(torch.rand((), generator=generator))
        x = _disturbed(train[0][rows], strength, generator)
        steps.zero_grad()
        F.cross_entropy(network(x, code=torch.tensor([strength])), train[1][rows]).backward()
        steps.step()
        if step % EVERY == 0:
            curve.append(asked())
    return curve, asked(wrong=True)
