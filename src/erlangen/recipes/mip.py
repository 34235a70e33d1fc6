"""MIP: how fast a hypernetwork learns when its codes all have one norm and its output is a correction."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from erlangen import data
from erlangen.nn.hyper import HyperNet
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import seeded
from erlangen.recipes.recipe import Budget, recipe

STEPS: dict[str, int] = {"smoke": 20, "laptop": 300, "full": 3000}
EVERY = 20
BATCH = 64
VARIANTS: dict[str, dict[str, object]] = {
    "none": {"encoding": "none", "residual": False},
    "layer_norm": {"encoding": "none", "residual": False, "layer_norm": True},
    "z1z": {"encoding": "z1z", "residual": False},
    "encoding": {"encoding": "mip", "residual": False},
    "residual": {"encoding": "none", "residual": True},
    "mip": {"encoding": "mip", "residual": True},
    "blind": {"encoding": "mip", "residual": True},
}
RATES = {"sgd": (0.01, 0.03, 0.1), "adam": (3e-4, 1e-3, 3e-3)}
ASKED = torch.tensor([[0.05], [0.25], [0.5], [0.75], [0.95]])


@recipe(
    "mip",
    title="Magnitude invariant parametrizations of hypernetworks",
    source="arXiv:2304.07645",
    claims=[
        Claim("SGD: in at most 0.6 of the steps where the plain hypernetwork ends", "sgd.mip.steps", "below", 0.6),
        Claim("Adam: in at most 0.6 of the steps where the plain hypernetwork ends", "adam.mip.steps", "below", 0.6),
        Claim("SGD: a lower loss than the plain hypernetwork", "sgd.mip.loss", "below", "sgd.none.loss"),
        Claim("Adam: a lower loss than the plain hypernetwork", "adam.mip.loss", "below", "adam.none.loss"),
        Claim("SGD: layer norms in the hypernetwork are not enough", "sgd.mip.loss", "below", "sgd.layer_norm.loss"),
        Claim("SGD: [z, 1 - z] is not enough", "sgd.mip.loss", "below", "sgd.z1z.loss"),
        Claim("without it, weights for a code of 0.05 are a tenth of those for 1 or less", "none.size", "below", 0.1),
        Claim("with it, they are as large", "encoding.size", "above", 0.8),
        Claim("not told the noise level it learns less", "adam.blind.loss", "above", "adam.mip.loss", control=True),
    ],
    uses=["erlangen.nn.hyper.hyper_net", "erlangen.nn.hyper.magnitude_invariant"],
    laptop_seeds=3,
    explanation=(
        "The network takes noise off 8 x 8 digits; the code is the standard deviation of the noise, between 0 and 1, one for "
        "each batch. `loss` is the squared error on test digits, the mean over five levels, after the last step, at the "
        "best of three learning rates for each variant; `steps` the share of the steps after which the loss is where the plain "
        "hypernetwork ends, 1 where it never is. `size` is the spread of generated weights for the code 0.05 over that for "
        "1, at the start. The plain hypernetwork starts with weights of the right size for codes uniform in [0, 1]."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Every variant from one seed, with the same batches, levels and noise."""
    loaded = data.load("digits")
    train, test = (part.tensors()[0].flatten(1) for part in (loaded.train, loaded.test))
    mean = train.mean(0)
    train, test = train - mean, test - mean
    numbers: dict[str, float] = {}
    for optimizer, every in RATES.items():
        rates = every[1:2] if budget == "smoke" else every
        curves = {
            name: min((_curve(name, optimizer, rate, train, test, budget, seed) for rate in rates), key=lambda c: c[-1])
            for name in VARIANTS
        }
        for name, curve in curves.items():
            reached = next((k for k, loss in enumerate(curve) if loss <= curves["none"][-1]), len(curve) - 1)
            numbers |= {f"{optimizer}.{name}.loss": curve[-1], f"{optimizer}.{name}.steps": reached / (len(curve) - 1)}
    for name in ("none", "encoding"):
        small, large = (
            _network(name, seed).weights(torch.tensor([[0.05], [1.0]]))["0.weight"].flatten(1).std(1).tolist()
        )
        numbers[f"{name}.size"] = small / large
    return numbers


def _network(name: str, seed: int) -> HyperNet:
    def build() -> HyperNet:
        target = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 64))
        return HyperNet(1, target, **VARIANTS[name])  # type: ignore[arg-type]

    network = seeded(build, seed)
    assert isinstance(network, HyperNet)
    return network


def _curve(
    name: str, optimizer: str, rate: float, train: Tensor, test: Tensor, budget: Budget, seed: int
) -> list[float]:
    """The loss on test digits before training and after every few steps."""
    network = _network(name, seed)
    kind = torch.optim.SGD if optimizer == "sgd" else torch.optim.Adam
    extra = {"momentum": 0.9} if optimizer == "sgd" else {}
    steps = kind([p for p in network.parameters() if p.requires_grad], lr=rate, **extra)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(ASKED), *test.shape, generator=generator)

    def code(level: Tensor) -> Tensor:
        return torch.full_like(level, 0.5) if name == "blind" else level

    def asked() -> float:
        with torch.no_grad():
            errors = [
                (network(test + level * extra, code=code(level)) - test).square().mean()
                for level, extra in zip(ASKED, noise, strict=True)
            ]
        loss = float(torch.stack(errors).mean())
        return loss if math.isfinite(loss) else math.inf

    curve = [asked()]
    for step in range(1, STEPS[budget] + 1):
        x = train[torch.randint(len(train), (BATCH,), generator=generator)]
        level = torch.rand(1, generator=generator)
        steps.zero_grad()
        (
            network(x + level * torch.randn(x.shape, generator=generator), code=code(level)) - x
        ).square().mean().backward()
        steps.step()
        if step % EVERY == 0:
            curve.append(asked())
    return curve
