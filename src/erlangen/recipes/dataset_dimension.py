"""Intrinsic dimension and label sharpness of data, and what they predict of the networks trained on them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from erlangen import data
from erlangen.audit.dataset import intrinsic_dimension, label_sharpness
from erlangen.recipes.claim import Claim
from erlangen.recipes.recipe import Budget, recipe
from erlangen.train import Ensemble, fit_ensemble

DIMENSIONS = (2, 4, 8, 16)
FREQUENCIES = (0.5, 1.5)
SIDE = 16
PAIRS = [(i, j) for i in range(10) for j in range(i)]
SAMPLES = {"smoke": 150, "laptop": 600, "full": 1_500}
TEST = {"smoke": 150, "laptop": 500, "full": 750}
STEPS = {"smoke": 20, "laptop": 200, "full": 500}
COUNT = {"smoke": 4, "laptop": 24, "full": 45}
NETS = {"smoke": 1, "laptop": 2, "full": 5}
STEP = 8 / 255


@recipe(
    "dataset_dimension",
    title="Intrinsic dimension and label sharpness predict generalization and robustness",
    source="arXiv:2401.08865",
    claims=[
        Claim("the measured dimension orders the simulated data", "simulated.order", "above", 0.9),
        Claim("test loss rises with the dimension at equal numbers of samples", "simulated.loss", "above", 0.5),
        Claim(
            "sharper labels lose more at the same dimension",
            "simulated.sharp_loss",
            "above",
            "simulated.smooth_loss",
        ),
        Claim("pairs of classes: sharper labels, less robust", "fashion.robust", "above", 0.3),
        Claim("the representation has no more dimensions than the data", "fashion.below", "above", 0.9),
        Claim(
            "the sharpness of shuffled labels says less about robustness",
            "fashion.robust",
            "above",
            "shuffled.robust",
            control=True,
        ),
    ],
    uses=[
        "erlangen.audit.dataset.dimension",
        "erlangen.audit.dataset.sharpness",
        "erlangen.stats.intrinsic_dimension",
        "erlangen.stats.neighbor_distances",
    ],
    laptop_seeds=3,
    explanation=(
        "Simulated images are a smooth random decoder of 2 to 16 latent numbers, labelled by the sign of a latent wave "
        "of low or high frequency. `loss` is the correlation of ln test loss with the true dimension, `order` the rank "
        "correlation of measured and true dimension. FashionMNIST pairs: `robust` is the rank correlation of label "
        "sharpness with the share of test answers that a step of 8/255 along the gradient's sign turns wrong, `below` "
        "the share of networks whose hidden layer has at most the data's dimension. `shuffled` measures the sharpness "
        "on shuffled labels. The paper has medical and natural images and ResNets; these are small networks."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Simulated images of known dimension, then pairs of classes of FashionMNIST."""
    return _simulated(budget, seed) | _fashion(budget, seed)


def _network(inputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))


def _fit(x: Tensor, y: Tensor, budget: Budget, seed: int) -> Ensemble:
    """Small networks, some for each of the data sets `x` `[sets, samples, features]`, all trained together."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        nets = [_network(x.shape[2]) for _ in range(len(x) * NETS[budget])]
    run = fit_ensemble(
        nets,
        x.repeat_interleave(NETS[budget], 0),
        y.repeat_interleave(NETS[budget], 0),
        steps=STEPS[budget],
        batch_size=min(64, x.shape[1]),
        lr=1e-3,
        each=True,
        seeds=seed,
    )
    return run.ensemble


def decoded(latent: Tensor, side: int, *, generator: torch.Generator) -> Tensor:
    """Smooth random images `[n, side^2]` of latent numbers `[n, d]`: waves whose phase and height the latents move."""
    d = latent.shape[1]
    line = torch.linspace(-1, 1, side)
    plane = torch.stack(torch.meshgrid(line, line, indexing="ij")).flatten(1)
    waves = 4 * d
    direction = 3 * torch.randn(waves, 2, generator=generator) @ plane
    phase = latent @ torch.randn(d, waves, generator=generator) / math.sqrt(d) * 2
    start = 2 * math.pi * torch.rand(waves, generator=generator)
    images = torch.stack([torch.cos(direction + (p + start).unsqueeze(1)).mean(0) for p in phase])
    return images / images.std()


def _simulated(budget: Budget, seed: int) -> dict[str, float]:
    train, test = SAMPLES[budget], TEST[budget]
    sets, dims = [], []
    for d in DIMENSIONS:
        generator = torch.Generator().manual_seed(100 * seed + d)
        latent = torch.rand(train + test, d, generator=generator) * 2 - 1
        images = decoded(latent, SIDE, generator=generator)
        dims.append(intrinsic_dimension(images[:train], "mle", calibrate=False, resamples=1).value)
        way = torch.randn(d, generator=generator)
        for frequency in FREQUENCIES:
            label = (torch.sin(math.pi * frequency * (latent @ (way / way.norm())) + 0.3) > 0).long()
            sets.append((images, label))
    x, y = torch.stack([s[0] for s in sets]), torch.stack([s[1] for s in sets])
    ensemble = _fit(x[:, :train], y[:, :train], budget, seed)
    loss, _ = _tested(ensemble, x[:, train:], y[:, train:], NETS[budget])
    logarithm = loss.log().view(len(DIMENSIONS), len(FREQUENCIES))
    true = torch.tensor(DIMENSIONS, dtype=torch.float64)
    return {
        "simulated.order": _ranked(torch.tensor(dims), true),
        "simulated.loss": float(
            torch.stack([_correlation(logarithm[:, f], true.log()) for f in range(len(FREQUENCIES))]).mean()
        ),
        "simulated.smooth_loss": float(logarithm[:, 0].mean()),
        "simulated.sharp_loss": float(logarithm[:, 1].mean()),
        **{f"simulated.dimension_{d}": value for d, value in zip(DIMENSIONS, dims, strict=True)},
    }


def _fashion(budget: Budget, seed: int) -> dict[str, float]:
    loaded = data.load("digits" if budget == "smoke" else "fashion_mnist")
    images, labels = loaded.tensors()
    generator = torch.Generator().manual_seed(seed)
    train, test = (100, 60) if budget == "smoke" else (SAMPLES[budget], TEST[budget])
    chosen = [PAIRS[i] for i in torch.randperm(len(PAIRS), generator=generator)[: COUNT[budget]].tolist()]
    parts = []
    for i, j in chosen:
        places = ((labels == i) | (labels == j)).nonzero().squeeze(1)
        places = places[torch.randperm(len(places), generator=generator)[: train + test]]
        parts.append((images[places].flatten(1), (labels[places] == i).long()))
    x, y = torch.stack([p[0] for p in parts]), torch.stack([p[1] for p in parts])
    sharp, shuffled, dims = [], [], []
    for rows, label in parts:
        sharp.append(label_sharpness(rows[:train], label[:train], samples=None, resamples=2).quantiles[0.01])
        order = torch.randperm(train, generator=generator)
        shuffled.append(label_sharpness(rows[:train], label[:train][order], samples=None, resamples=2).quantiles[0.01])
        dims.append(intrinsic_dimension(rows[:train], "mle", k=10, calibrate=False, resamples=1).value)
    ensemble = _fit(x[:, :train], y[:, :train], budget, seed)
    _, right = _tested(ensemble, x[:, train:], y[:, train:], NETS[budget])
    turned = _turned(ensemble, x[:, train:], y[:, train:], NETS[budget])
    hidden = _hidden_dimensions(ensemble, x[:, :train], NETS[budget])
    below = [h <= dims[m // NETS[budget]] for m, h in enumerate(hidden)]
    return {
        "fashion.robust": _ranked(torch.tensor(sharp), turned),
        "shuffled.robust": _ranked(torch.tensor(shuffled), turned),
        "fashion.below": sum(below) / len(below),
        "fashion.accuracy": float(right.mean()),
        "fashion.turned": float(turned.mean()),
    }


def _tested(ensemble: Ensemble, x: Tensor, y: Tensor, nets: int) -> tuple[Tensor, Tensor]:
    """Mean test loss and accuracy of the networks of every data set, `[sets]`."""
    logits = ensemble(x.repeat_interleave(nets, 0), each=True)
    label = y.repeat_interleave(nets, 0)
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), label.flatten(), reduction="none").view(label.shape)
    right = (logits.argmax(2) == label).double()
    return loss.double().mean(1).view(-1, nets).mean(1), right.mean(1).view(-1, nets).mean(1)


def _turned(ensemble: Ensemble, x: Tensor, y: Tensor, nets: int) -> Tensor:
    """The share of right answers that one step along the sign of the gradient turns wrong, `[sets]`."""
    share = []
    for member, net in enumerate(ensemble.members()):
        rows, label = x[member // nets].clone().requires_grad_(True), y[member // nets]
        logits = net(rows)
        (slope,) = torch.autograd.grad(nn.functional.cross_entropy(logits, label, reduction="sum"), rows)
        with torch.no_grad():
            right = logits.argmax(1) == label
            after = net(rows + STEP * slope.sign()).argmax(1) == label
        share.append(float((right & ~after).double().sum() / right.double().sum().clamp(min=1)))
    return torch.tensor(share, dtype=torch.float64).view(-1, nets).mean(1)


def _hidden_dimensions(ensemble: Ensemble, x: Tensor, nets: int) -> list[float]:
    found = []
    for member, net in enumerate(ensemble.members()):
        assert isinstance(net, nn.Sequential)
        with torch.no_grad():
            rows = net[:4](x[member // nets])
        found.append(intrinsic_dimension(rows, "mle", k=10, calibrate=False, resamples=1).value)
    return found


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    return torch.corrcoef(torch.stack([a.double(), b.double()]))[0, 1]


def _ranked(a: Tensor, b: Tensor) -> float:
    """Spearman's rank correlation (the values are continuous: no ties)."""
    return float(_correlation(a.argsort().argsort(), b.argsort().argsort()))
