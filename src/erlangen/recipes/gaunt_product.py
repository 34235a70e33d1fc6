"""Gaunt tensor products: how their cost grows with the degree, and which shapes they cannot tell apart."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from erlangen.groups import SO, spherical_harmonics
from erlangen.nn.points.gaunt_product import GauntTensorProduct
from erlangen.nn.points.interaction import DegreeLinear, functions
from erlangen.nn.points.tensor_product import TensorProduct
from erlangen.nn.points.vector_gaunt_product import VectorGauntTensorProduct
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import seeded
from erlangen.recipes.recipe import Budget, recipe

Coupling = Literal["gaunt", "vector", "paths"]
DEGREES: dict[str, tuple[int, ...]] = {"smoke": (1, 2), "laptop": (2, 4, 6, 8, 10), "full": (2, 4, 6, 8, 10, 12)}
SAMPLES: dict[str, int] = {"smoke": 20, "laptop": 400, "full": 2_000}
REPEATS: dict[str, int] = {"smoke": 2, "laptop": 7, "full": 15}
STEPS: dict[str, int] = {"smoke": 3, "laptop": 150, "full": 400}
PATHS_UP_TO = 4  # path by path is timed up to here
SHAPES = torch.tensor(
    [
        [[0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 1, 0]],  # a chiral piece
        [[0, 0, 0], [0, 0, 1], [1, 0, 0], [1, -1, 0]],  # and its mirror image
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]],  # square
        [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 0, 3]],  # line
        [[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]],  # corner
        [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 0]],  # L
        [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 1]],  # T
        [[0, 0, 0], [1, 0, 0], [1, 1, 0], [2, 1, 0]],  # zigzag
    ],
    dtype=torch.float32,
)


class Tetris(nn.Module):
    """Two products of what every block sees of the others, and a classifier on the scalars: `[batch, 4, 3] -> [batch, 8]`.

    Invariant under rotations. The scalars of Gaunt products do not change under reflections either; brackets and odd paths
    also give pseudo-scalars, which do.
    """

    def __init__(self, coupling: Coupling, channels: int = 8) -> None:
        super().__init__()
        self.channels, self.coupling = channels, coupling
        self.radial = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, channels * 3))
        self.mixes = nn.ModuleList([DegreeLinear(channels, 2) for _ in range(3)])
        plain, both = functions(2), functions(2) + "+1e+2o"
        self.first: nn.Module
        self.second: nn.Module
        if coupling == "gaunt":
            self.first = GauntTensorProduct(plain, plain, plain, channels=channels)
            self.second = GauntTensorProduct(plain, plain, "0e", channels=channels)
        elif coupling == "vector":
            self.first = VectorGauntTensorProduct(plain, plain, both, channels=channels)
            self.second = VectorGauntTensorProduct(both, plain, "0e+0o", channels=channels)
        else:
            many, of_both = functions(2, channels), functions(2, channels) + f"+{channels}x1e+{channels}x2o"
            self.first = TensorProduct(many, many, of_both, connection="channels")
            self.second = TensorProduct(of_both, many, f"{channels}x0e+{channels}x0o", connection="channels")
        scalars = channels * (1 if coupling == "gaunt" else 2)
        self.classify = nn.Sequential(nn.Linear(scalars, 32), nn.SiLU(), nn.Linear(32, len(SHAPES)))

    def forward(self, x: Float[Tensor, "batch blocks 3"]) -> Float[Tensor, "batch classes"]:
        pairs = x[:, None] - x[:, :, None]
        off = ~torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
        edges = pairs[:, off].unflatten(1, (x.shape[1], -1))  # [batch, blocks, others, 3]
        distance = edges.norm(dim=-1, keepdim=True)
        bumps = torch.exp(-4 * (distance - torch.linspace(0.5, 3.5, 8, device=x.device)).square())
        weights = self.radial(bumps).unflatten(-1, (self.channels, 3))
        degree = torch.tensor([0, 1, 1, 1, 2, 2, 2, 2, 2], device=x.device)
        harmonics = torch.cat(spherical_harmonics(2, edges, normalization="component"), -1)
        seen = (weights.index_select(-1, degree) * harmonics[..., None, :]).sum(2)  # [batch, blocks, channels, 9]
        a, b, c = (mix(seen) for mix in self.mixes)
        if self.coupling == "paths":
            a, b, c = (torch.cat([part.flatten(-2) for part in t.split([1, 3, 5], -1)], -1) for t in (a, b, c))
            scalars = self.second(self.first(a, b), c)
        else:
            scalars = self.second(self.first(a, b), c).flatten(-2)
        return self.classify(scalars.mean(1))


@recipe(
    "gaunt_product",
    title="Gaunt tensor products: cost and blind spot",
    source="arXiv:2401.10216",
    claims=[
        Claim("the dense product grows with the fifth power of the degree or more", "direct.slope", "above", 5.0),
        Claim("the grid route with the power 3.5 or less", "grid.slope", "below", 3.5),
        Claim("the grid route is over 3 times as fast as path by path at l = 4", "paths.over_grid", "above", 3.0),
        Claim("the Fourier route of the paper is slower than the grid at every degree", "fourier.least", "above", 1.0),
        Claim("with Clebsch-Gordan paths all 8 Tetris pieces are told apart", "paths.classes", "above", 7.9),
        Claim("with Gaunt products 7 classes remain", "gaunt.classes", "above", 6.9),
        Claim("with Gaunt products and brackets all 8 are told apart", "vector.classes", "above", 7.9),
        Claim(
            "with Gaunt products a piece and its mirror image get the same answer",
            "gaunt.mirror",
            "below",
            1e-4,
            control=True,
        ),
    ],
    uses=[
        "erlangen.nn.points.gaunt_product",
        "erlangen.nn.points.gaunt_routes",
        "erlangen.nn.points.vector_gaunt_product",
        "erlangen.nn.points.tensor_product",
        "erlangen.groups.harmonics.product_grid",
    ],
    laptop_seeds=5,
    explanation=(
        "Slopes are least squares of log time against log degree, forward and backward, from degree 4 on, for inputs of one "
        "degree and all of their product. `paths` computes every Clebsch-Gordan path by itself, with a weight each: per irrep "
        "computed (`per_irrep`, time of the grid over that of the paths, each divided by its number of irreps before any "
        "are added up) the comparison is another one, as Xie et al. (2025) point out. `classes` is the number of Tetris "
        "pieces times the accuracy on turned copies; `mirror` the largest difference of answers between a piece and its "
        "reflection. Times depend on the machine; ratios and slopes less so."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Times of the routes at growing degrees, then three classifiers of the Tetris pieces."""
    numbers = _speed(budget, seed)
    couplings: tuple[Coupling, ...] = ("gaunt", "vector", "paths")
    for coupling in couplings:
        model = seeded(partial(Tetris, coupling), seed)
        _train(model, STEPS[budget], seed)
        numbers |= {f"{coupling}.{name}": value for name, value in _judge(model, seed).items()}
    return numbers


def _speed(budget: Budget, seed: int) -> dict[str, float]:
    degrees, samples = DEGREES[budget], SAMPLES[budget]
    generator = torch.Generator().manual_seed(seed)
    seconds: dict[str, dict[int, float]] = {"direct": {}, "grid": {}, "fourier": {}, "paths": {}}
    for degree in degrees:
        kind = functions(degree)
        x, y = (torch.randn(samples, 1, (degree + 1) ** 2, generator=generator).requires_grad_() for _ in range(2))
        cases: dict[str, nn.Module] = {
            method: GauntTensorProduct(kind, kind, method=method, weight="none")  # type: ignore[arg-type]
            for method in ("direct", "grid", "fourier")
        }
        for name, value in _times(cases, (x, y), REPEATS[budget]).items():
            seconds[name][degree] = value
        if degree <= PATHS_UP_TO:
            flat = (x.detach()[:, 0].requires_grad_(), y.detach()[:, 0].requires_grad_())
            seconds["paths"][degree] = _times(
                {"paths": seeded(partial(_every_path, degree), seed)}, flat, REPEATS[budget]
            )["paths"]
    numbers = {f"{name}.slope": _slope(seconds[name]) for name in ("direct", "grid", "fourier")}
    compared = max(seconds["paths"])
    ratio = seconds["paths"][compared] / seconds["grid"][compared]
    irreps = {"paths": sum(1 for _ in _paths(compared)), "grid": 2 * compared + 1}
    return numbers | {
        "paths.over_grid": ratio,
        "grid.per_irrep": irreps["paths"] / (ratio * irreps["grid"]),
        "fourier.least": min(seconds["fourier"][l] / seconds["grid"][l] for l in degrees),
        f"direct.over_grid_{max(degrees)}": seconds["direct"][max(degrees)] / seconds["grid"][max(degrees)],
    }


def _paths(degree: int) -> Iterator[tuple[int, int, int]]:
    """All degrees (l1, l2, l3) that couple, up to `degree` for the first two."""
    for l1 in range(degree + 1):
        for l2 in range(degree + 1):
            for l3 in range(abs(l1 - l2), l1 + l2 + 1):
                yield l1, l2, l3


def _every_path(degree: int) -> TensorProduct:
    """All paths of the full product; those to one irrep are added up with their weights at the end."""
    reached = sorted({(l3, (l1 + l2) % 2) for l1, l2, l3 in _paths(degree)})
    out = "+".join(f"{l3}{'eo'[odd]}" for l3, odd in reached)
    return TensorProduct(functions(degree), functions(degree), out, connection="channels")


def _times(cases: dict[str, nn.Module], inputs: tuple[Tensor, Tensor], repeats: int) -> dict[str, float]:
    """The fastest of some forward and backward passes, the cases in turn."""
    best = dict.fromkeys(cases, math.inf)
    for _ in range(repeats):
        for name, module in cases.items():
            started = time.perf_counter()
            torch.autograd.grad(module(*inputs).sum(), inputs)
            best[name] = min(best[name], time.perf_counter() - started)
    return best


def _slope(seconds: dict[int, float]) -> float:
    kept = {l: s for l, s in seconds.items() if l >= min(4, max(seconds) - 1)}
    x, y = (torch.tensor(v, dtype=torch.float64).log() for v in (list(kept), list(kept.values())))
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / x.square().sum())


def _turned(copies: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    labels = torch.arange(len(SHAPES)).repeat(copies)
    turns = SO(3).sample((len(labels),), generator=generator, dtype=torch.float32)
    return SHAPES[labels] @ turns.mT, labels


def _train(model: nn.Module, steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for _ in range(steps):
        x, labels = _turned(2, generator)
        optimizer.zero_grad()
        cross_entropy(model(x), labels).backward()
        optimizer.step()
        schedule.step()


def _judge(model: Callable[[Tensor], Tensor], seed: int) -> dict[str, float]:
    """Pieces told apart on new turns, and the largest change of an answer under reflection."""
    x, labels = _turned(16, torch.Generator().manual_seed(10_000 + seed))
    flip = torch.tensor([1.0, 1.0, -1.0])
    with torch.no_grad():
        answers = model(x)
        mirror = (model(x * flip) - answers).abs().max() / answers.abs().max()
    right = (answers.argmax(1) == labels).double().mean()
    return {"classes": float(right) * len(SHAPES), "mirror": float(mirror)}
