"""Invariant coordinates in front of an ordinary network, against frame averaging, on eight kinds of solids."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from erlangen.groups.symmetry import Symmetry
from erlangen.nn.points.tinv import TInv
from erlangen.nn.symmetrize import Symmetrized, symmetrize
from erlangen.recipes.claim import Claim
from erlangen.recipes.frame_averaging import PointNet
from erlangen.recipes.image_probe import seeded
from erlangen.recipes.point_shapes import EIGHT, eight_shapes, random_rotations
from erlangen.recipes.recipe import Budget, recipe
from erlangen.testing import check

SIZES: dict[str, tuple[int, int, int]] = {"smoke": (64, 64, 2), "laptop": (640, 400, 30), "full": (2_560, 1_600, 120)}
SYMMETRY = Symmetry("SO(3)", input="points", output="invariant")


@recipe(
    "tinvnn",
    title="Invariant initial coordinates: one pass instead of a frame",
    source="arXiv:2112.12345",
    claims=[
        Claim("turned, the plain network is right for at most 45 %", "plain.turned", "below", 0.45),
        Claim("turned, invariant coordinates lose at most 3 points", "tinv.lost", "below", 0.03),
        Claim("frame averaging is within 2 points of them, above", "fa.lead", "below", 0.02),
        Claim("and below", "fa.lead", "above", -0.02),
        Claim("they cost less than 0.4 of the frame's four passes", "tinv.cost", "below", 0.4),
        Claim("exactly invariant: the checker's relative error in float64", "tinv.error", "below", 1e-9),
        Claim("the two helices are told apart (accuracy on them)", "tinv.helices", "above", 0.75),
        Claim("ignoring chirality they are not", "mirror.helices", "below", 0.65, control=True),
        Claim(
            "a shaken input moves the output more where the margin is small (ratio of means, lowest to highest quarter)",
            "margin.ratio",
            "above",
            1.0,
        ),
    ],
    uses=["erlangen.nn.points.tinv", "erlangen.groups.frames.mds", "erlangen.recipes.point_shapes"],
    laptop_seeds=3,
    explanation=(
        "Solids with 256 points stand upright in training and are turned at random in the test. `lost` is upright less "
        "turned accuracy, `lead` the frame averaged network's turned accuracy less that of invariant coordinates, `cost` the "
        "median time of a forward pass over that of the frame averaged network. The frame averaged network trains on one "
        "random element of its frame (`mode='sample'`) and is averaged in the test. Solids of revolution have two equal "
        "variances, so that chance settles their axes: their margin is small, and that is where the output jumps."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Plain, invariant coordinates (handed and not), and frame averaged, from the same initial weights."""
    train_size, test_size, epochs = SIZES[budget]
    generator = torch.Generator().manual_seed(seed)
    x, label = eight_shapes(train_size + test_size, generator)
    train, test = (x[:train_size], label[:train_size]), (x[train_size:], label[train_size:])
    turned = test[0] @ random_rotations(test_size, generator).mT

    def backbone() -> nn.Module:
        return seeded(lambda: PointNet(len(EIGHT), 8 if budget == "smoke" else 32), seed)

    models: dict[str, nn.Module] = {
        "plain": backbone(),
        "tinv": TInv(backbone(), chirality="keep"),
        "mirror": TInv(backbone()),
        "fa": symmetrize(backbone(), SYMMETRY, mode="sample", generator=torch.Generator().manual_seed(seed)),
    }
    numbers: dict[str, float] = {}
    helices = test[1] >= 6
    for name, model in models.items():
        _train(model, *train, epochs, seed)
        if isinstance(model, Symmetrized):
            model.mode = "mean"
        upright, after = _right(model, test[0], test[1]), _right(model, turned, test[1])
        found = {"upright": upright, "turned": after, "lost": upright - after}
        found["helices"] = _right(model, turned[helices], test[1][helices])
        numbers |= {f"{name}.{key}": value for key, value in found.items()}
    tinv = models["tinv"]
    assert isinstance(tinv, TInv)
    numbers["tinv.error"] = check(tinv, SYMMETRY, test[0][:4].double(), seed=seed, risks=False).worst_error
    numbers["fa.lead"] = numbers["fa.turned"] - numbers["tinv.turned"]
    numbers["tinv.cost"] = _seconds(tinv, test[0][:64]) / _seconds(models["fa"], test[0][:64])
    return numbers | _near_jumps(tinv, test[0], generator)


def _near_jumps(model: TInv, x: Tensor, generator: torch.Generator) -> dict[str, float]:
    """The relative change of the output under one per mille of noise, for small and for large margins."""
    with torch.inference_mode():
        margin = model.frame.margin(x)
        shaken = x + 1e-3 * torch.randn(x.shape, generator=generator)
        one, two = model(x), model(shaken)
        change = (two - one).norm(dim=-1) / one.norm(dim=-1)
    order = margin.argsort()
    quarter = len(order) // 4
    small, large = change[order[:quarter]], change[order[-quarter:]]
    return {
        "margin.small": float(small.mean()),
        "margin.large": float(large.mean()),
        "margin.ratio": float(small.mean() / large.mean()),
    }


def _train(model: nn.Module, x: Tensor, label: Tensor, epochs: int, seed: int, batch: int = 32) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=epochs * (len(x) // batch))
    for _ in range(epochs):
        for index in torch.randperm(len(x), generator=generator)[: len(x) // batch * batch].split(batch):
            optimizer.zero_grad()
            cross_entropy(model(x[index]), label[index]).backward()
            optimizer.step()
            schedule.step()
    model.eval()


def _right(model: Callable[[Tensor], Tensor], x: Tensor, label: Tensor) -> float:
    with torch.inference_mode():
        answers = torch.cat([model(part).argmax(1) for part in x.split(50)])
    return float((answers == label).double().mean())


def _seconds(model: nn.Module, x: Tensor, repeats: int = 9) -> float:
    times = []
    with torch.inference_mode():
        for _ in range(repeats):
            started = time.perf_counter()
            model(x)
            times.append(time.perf_counter() - started)
    return statistics.median(times)
