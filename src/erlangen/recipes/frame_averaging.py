"""Frame averaging: an ordinary network on points, made exactly rotation invariant, trained upright, tested turned."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from erlangen.groups.symmetry import Symmetry
from erlangen.nn.symmetrize import symmetrize
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import seeded
from erlangen.recipes.point_shapes import Clouds, clouds, random_rotations
from erlangen.recipes.recipe import Budget, recipe
from erlangen.testing import check

EPOCHS: dict[str, int] = {"smoke": 3, "laptop": 30, "full": 150}
SYMMETRY = Symmetry("SO(3)", input="points", output="invariant")
FRAME = 4


class PointNet(nn.Module):
    """The same network on every point, the maximum over points, a classifier: `[B, N, 3] -> [B, classes]`."""

    def __init__(self, num_classes: int, width: int = 32) -> None:
        super().__init__()
        sizes = [3, width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for inner, outer in pairwise(sizes):
            layers += [nn.Linear(inner, outer), nn.SiLU()]
        self.points = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(sizes[-1], 2 * width), nn.SiLU(), nn.Linear(2 * width, num_classes))

    def forward(self, x: Float[Tensor, "batch points 3"]) -> Float[Tensor, "batch classes"]:
        return self.head(self.points(x).amax(1))


class FixedAverage(nn.Module):
    """The backbone averaged over four rotations that do not depend on the input: what frame averaging is not."""

    turns: Tensor

    def __init__(self, module: nn.Module, seed: int) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("turns", random_rotations(FRAME, torch.Generator().manual_seed(seed)))

    def forward(self, x: Float[Tensor, "batch points 3"]) -> Float[Tensor, "batch classes"]:
        return torch.stack([self.module(x @ turn.mT) for turn in self.turns]).mean(0)


@recipe(
    "frame_averaging",
    title="Frame averaging: any backbone made exactly invariant",
    source="arXiv:2110.03336",
    claims=[
        Claim("exactly invariant: the checker's relative error in float64 below 1e-9", "frame.error", "below", 1e-9),
        Claim("trained upright, it loses nothing when turned (0.5 points)", "frame.lost", "below", 0.0, margin=0.005),
        Claim("turned, it beats the plain backbone", "frame.turned", "above", "plain.turned"),
        Claim(
            "turned, it beats the backbone trained on turned copies, at as many passes",
            "frame.turned",
            "above",
            "augmented.turned",
        ),
        Claim(
            "upright, it is within 2 points of the backbone (expressive power kept)",
            "frame.upright",
            "above",
            "plain.upright",
            margin=-0.02,
        ),
        Claim(
            "one pose instead of the frame loses over 10 points upright, too: the pose costs them, not the averaging",
            "canonical.upright",
            "below",
            "plain.upright",
            margin=-0.1,
            control=True,
        ),
        Claim("the plain backbone is not invariant", "plain.error", "above", 0.01, control=True),
        Claim(
            "averaging over four fixed rotations, without a frame, loses over 10 points when turned",
            "fixed.lost",
            "above",
            0.1,
            control=True,
        ),
    ],
    uses=["erlangen.nn.symmetrize", "erlangen.groups.frames.pca", "erlangen.recipes.point_shapes"],
    laptop_seeds=3,
    explanation=(
        "`upright` and `turned` are test accuracies, `lost` their difference, `error` the checker's worst relative "
        "error. `frame.overhead` is the median time of a forward pass over that of the bare backbone's, divided by the "
        "four elements of the frame; it depends on the machine and no claim rests on it. Every model but the plain one is "
        "trained with as many passes of the backbone (30 epochs of four elements, or 120 of one). Upright ModelNet shapes share "
        "the direction of gravity: the plain backbone may use it, an invariant one by definition cannot. `canonical` is "
        "the backbone on clouds turned to their principal axes (one element of the frame, signs by moments)."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Plain, with augmentation, frame averaged, averaged over fixed rotations, in canonical pose; same initial weights."""
    shapes = clouds(budget, seed)
    rotations = random_rotations(len(shapes.test), torch.Generator().manual_seed(1_000 + seed))
    turned = shapes.test @ rotations.mT

    def backbone() -> nn.Module:
        return seeded(lambda: PointNet(shapes.num_classes, 16 if budget == "smoke" else 32), seed)

    models: dict[str, nn.Module] = {
        "plain": backbone(),
        "augmented": backbone(),
        "frame": symmetrize(backbone(), SYMMETRY, how="frame"),
        "fixed": FixedAverage(backbone(), seed),
        "canonical": symmetrize(backbone(), SYMMETRY, how="canonical"),
    }
    numbers: dict[str, float] = {}
    for name, model in models.items():
        passes = FRAME if name in ("augmented", "canonical") else 1
        _train(model, shapes, passes * EPOCHS[budget], seed, augment=name == "augmented")
        upright, after = (_accuracy(model, x, shapes.test_label) for x in (shapes.test, turned))
        numbers |= {f"{name}.upright": upright, f"{name}.turned": after, f"{name}.lost": upright - after}
        if name in ("plain", "frame"):
            numbers[f"{name}.error"] = check(model, SYMMETRY, shapes.test[:4], seed=seed).worst_error
    bare, whole = _seconds(models["plain"], shapes.test[:64]), _seconds(models["frame"], shapes.test[:64])
    return numbers | {"frame.overhead": whole / bare / FRAME}


def _train(model: nn.Module, shapes: Clouds, epochs: int, seed: int, *, augment: bool, batch: int = 32) -> None:
    generator = torch.Generator().manual_seed(seed)
    steps = epochs * (len(shapes.train) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(epochs):
        for index in torch.randperm(len(shapes.train), generator=generator).split(batch):
            if len(index) < batch:
                continue
            x = shapes.train[index]
            if augment:
                x = x @ random_rotations(len(x), generator).mT
            optimizer.zero_grad()
            cross_entropy(model(x), shapes.train_label[index]).backward()
            optimizer.step()
            schedule.step()
    model.eval()


def _accuracy(model: Callable[[Tensor], Tensor], x: Tensor, label: Tensor) -> float:
    with torch.inference_mode():
        answers = torch.cat([model(part).argmax(1) for part in x.split(100)])
    return float((answers == label).double().mean())


def _seconds(model: nn.Module, x: Tensor, repeats: int = 9) -> float:
    times = []
    with torch.inference_mode():
        model(x)
        for _ in range(repeats):
            started = time.perf_counter()
            model(x)
            times.append(time.perf_counter() - started)
    return statistics.median(times)
