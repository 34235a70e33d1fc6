"""Topological representational similarity: layers and brains told apart by who is near whom."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from erlangen import data
from erlangen.audit.rsa import compare_rdms, geo_topological, geodesic, identify, rdm
from erlangen.data import ArrayDataset
from erlangen.nn.tap import Tap
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import seeded
from erlangen.recipes.recipe import Budget, recipe

NETWORKS: dict[str, int] = {"smoke": 3, "laptop": 10, "full": 20}
STEPS: dict[str, int] = {"smoke": 4, "laptop": 100, "full": 1_000}
DRAWS: dict[str, int] = {"smoke": 1, "laptop": 10, "full": 50}
NOISE = (0.0, 1.0, 2.0, 4.0, 8.0)
STIMULI, UNITS = 62, 100
TRANSFORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "rdm": lambda d: d,
    "rgtm": geo_topological,
    "binary": partial(geo_topological, low=0.5, up=0.5),
    "rgdm": partial(geodesic, mode="geo_topological"),
}
HIGH, LOW = ("animacy", "FaceBodyManmadeNatobj", "monkeyIT"), ("V1", "Silhouette", "RADON")


class FiveLayers(nn.Sequential):
    """Five convolutions and a linear classifier."""

    def __init__(self, num_classes: int) -> None:
        widths = (1, 8, 16, 16, 32, 32)
        blocks = [
            nn.Sequential(nn.Conv2d(widths[i], widths[i + 1], 3, stride=2 if i in (1, 3) else 1, padding=1), nn.ReLU())
            for i in range(5)
        ]
        super().__init__(*blocks, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, num_classes))


@recipe(
    "topological_rsa",
    title="Layers are told apart by topology as well as by geometry, and category models explain human IT",
    source="arXiv:2309.11028",
    claims=[
        Claim(
            "without noise the topology identifies layers as well", "noise0.rgtm", "above", "noise0.rdm", margin=-0.02
        ),
        Claim("with much noise too", "noise4.rgtm", "above", "noise4.rdm", margin=-0.02),
        Claim("averaged over noise too", "mean.rgtm", "above", "mean.rdm", margin=-0.02),
        Claim("keeping no distances at all costs accuracy", "mean.binary", "below", "mean.rgtm"),
        Claim("shortest paths identify layers above chance", "mean.rgdm", "above", 0.2),
        Claim("category models explain human IT better: dissimilarities", "brain.rdm.high", "above", "brain.rdm.low"),
        Claim("category models explain human IT better: topology", "brain.rgtm.high", "above", "brain.rgtm.low"),
        Claim("category models explain human IT better: paths", "brain.rgdm.high", "above", "brain.rgdm.low"),
        Claim("subjects are recognised in their other session", "brain.rgtm.subjects", "above", 0.25),
        Claim("shuffled layers are not identified", "shuffled.rgtm", "below", 0.3, control=True),
    ],
    uses=[
        "erlangen.audit.rsa.dissimilarity",
        "erlangen.audit.rsa.transforms",
        "erlangen.audit.rsa.paths",
        "erlangen.audit.rsa.comparison",
        "erlangen.audit.rsa.identification",
        "erlangen.stats.rank_correlation",
    ],
    laptop_seeds=5,
    explanation=(
        "Ten networks on Fashion-MNIST at 14 x 14; a layer's dissimilarities are those of 100 random units' responses to 62 "
        "images with Gaussian noise of 0, 1, 2, 4, 8 times the units' spread, identified from the other networks' (chance "
        "0.2). `brain.*.high` is the worst of animacy, categories and monkey IT, `low` the best of V1, silhouette and RADON, "
        "as rho-a with human IT (4 subjects, 2 sessions) on 80 % of the 92 images. The file has one human region only, so "
        "that the paper's identification of regions cannot be repeated from it; the smallest budget makes brains up."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Layer identification in networks, model ranking and subject identification in brains."""
    generator = torch.Generator().manual_seed(seed)
    patterns = _patterns(budget, seed, generator)
    networks, layers = patterns.shape[:2]
    label = torch.arange(layers).repeat(networks)
    group = torch.arange(networks).repeat_interleave(layers)
    hits: dict[str, list[float]] = {}
    for _ in range(DRAWS[budget]):
        units = torch.randn(patterns.shape, generator=generator, dtype=torch.float64)
        for level, noise in enumerate(NOISE):
            distance = rdm((patterns + noise * units).flatten(0, 1))
            for name, transform in TRANSFORMS.items():
                told = identify(distance, label, group, transform=transform, resamples=2, generator=generator)
                hits.setdefault(f"noise{level}.{name}", []).append(told.accuracy)
        mixed = torch.cat([torch.randperm(layers, generator=generator) for _ in range(networks)])
        told = identify(rdm(patterns.flatten(0, 1)), mixed, group, transform=geo_topological, resamples=2)
        hits.setdefault("shuffled.rgtm", []).append(told.accuracy)
    numbers = {name: sum(values) / len(values) for name, values in hits.items()}
    for name in TRANSFORMS:
        numbers[f"mean.{name}"] = sum(numbers[f"noise{level}.{name}"] for level in range(len(NOISE))) / len(NOISE)
    return numbers | _brain(budget, generator)


def _patterns(budget: Budget, seed: int, generator: torch.Generator) -> Tensor:
    """Responses of random units of every layer, of spread one: `[networks, layers, stimuli, units]`."""
    loaded = data.load("digits") if budget == "smoke" else data.load("fashion_mnist", image_size=14)
    x, label = loaded.train.tensors(torch.arange(min(len(loaded.train), 128 * STEPS[budget])))
    stimuli = _balanced(loaded, STIMULI)
    found = []
    for number in range(NETWORKS[budget]):
        net = seeded(lambda: FiveLayers(int(loaded.num_classes or 0)), 1_000 * seed + number)
        optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
        order = torch.randperm(len(x), generator=generator)
        for step in range(STEPS[budget]):
            rows = order[torch.arange(step * 128, step * 128 + 128) % len(x)]
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), label[rows]).backward()
            optimizer.step()
        with torch.no_grad(), Tap(net, [str(i) for i in range(5)], pool=None) as tap:
            net(stimuli)
        layers = []
        for value in tap.activations.values():
            rows = value.flatten(1).double()
            alive = (rows.std(0) > 1e-6).nonzero().squeeze(1)
            units = alive[torch.randint(len(alive), (UNITS,), generator=generator)]
            layers.append((rows[:, units] - rows[:, units].mean(0)) / rows[:, units].std(0))
        found.append(torch.stack(layers))
    return torch.stack(found)


def _balanced(loaded: ArrayDataset, count: int) -> Tensor:
    """The first test images, as many of each class as there are."""
    x, label = loaded.test.tensors(torch.arange(min(len(loaded.test), 1_000)))
    turn = torch.zeros_like(label)
    for c in label.unique():
        turn[label == c] = torch.arange(int((label == c).sum()))
    return x[turn.argsort(stable=True)[:count]]


def _brain(budget: Budget, generator: torch.Generator) -> dict[str, float]:
    human, models = _made_up(generator) if budget == "smoke" else _measured()
    stimuli = human.shape[-1]
    keep = torch.randperm(stimuli, generator=generator)[: round(0.8 * stimuli)].sort().values
    human = human[..., keep, :][..., keep].flatten(0, 1)
    numbers = {}
    for name in ("rdm", "rgtm", "rgdm"):
        transform = TRANSFORMS[name]
        score = {
            model: float(compare_rdms(transform(d[keep][:, keep]), transform(human), "rho_a").mean())
            for model, d in models.items()
        }
        numbers[f"brain.{name}.high"] = min(score[model] for model in HIGH)
        numbers[f"brain.{name}.low"] = max(score[model] for model in LOW)
        subject, session = torch.arange(4).repeat_interleave(2), torch.arange(2).repeat(4)
        told = identify(human, subject, session, transform=transform, resamples=2, generator=generator)
        numbers[f"brain.{name}.subjects"] = told.accuracy
    return numbers


def _measured() -> tuple[Tensor, dict[str, Tensor]]:
    path = Path(os.environ.get("ERLANGEN_DATA", "")) / "rsa_92images" / "rsa_92images.npz"
    if not path.is_file():
        raise FileNotFoundError(
            f"data: {path} is not there; it holds the 92-image dissimilarities of rsagroup/rsatoolbox, demos/92imageData"
        )
    with np.load(path) as held:
        human = torch.from_numpy(held["rdm_human_IT_subjects_sessions"]).double()
        names = [str(name) for name in held["rdm_model_names"]]
        return human, dict(zip(names, torch.from_numpy(held["rdm_models"]).double(), strict=True))


def _made_up(generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Brains that see one set of patterns, and models of which half do."""
    truth = torch.randn(20, 10, generator=generator, dtype=torch.float64)
    noisy = truth + 0.3 * torch.randn(4, 2, 20, 10, generator=generator, dtype=torch.float64)
    other = torch.randn(3, 20, 10, generator=generator, dtype=torch.float64)
    return rdm(noisy), {name: rdm(truth) for name in HIGH} | dict(zip(LOW, rdm(other), strict=True))
