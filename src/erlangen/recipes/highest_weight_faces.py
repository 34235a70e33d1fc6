"""Faces of highest weight modules: counted from the Dynkin diagram, against convex hulls of the weights."""

from __future__ import annotations

import itertools
import random
import statistics
import time

from erlangen.groups.highest_weight import CartanType, HighestWeightModule
from erlangen.groups.highest_weight.hull import hull_f_vector
from erlangen.recipes.claim import Claim
from erlangen.recipes.recipe import Budget, recipe

SIZES: dict[str, int] = {"smoke": 60, "laptop": 500, "full": 1500}
FINITE = ["A1", "A2", "B2", "G2", "A3", "B3", "C3", "A1 x A2", "A1 x B2", "A4", "B4", "C4", "D4", "A2 x A2", "A1 x A3"]
FOUR_21 = (240, 6720, 60480, 241920, 483840, 483840, 207360, 19440, 1)
E6 = [(1, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 1), (0, 1, 0, 0, 0, 0), (1, 0, 0, 0, 0, 1)]
LIMIT = 4_000


@recipe(
    "highest_weight_faces",
    title="Faces of highest weight modules without convex hulls",
    source="arXiv:1611.00114",
    claims=[
        Claim("at least 500 modules were compared, E6 among them", "battery.modules", "above", 499.5),
        Claim("no f-vector differs from that of the convex hull", "battery.wrong", "below", 0.5),
        Claim("no inclusion of faces differs from inclusion of weights", "inclusions.wrong", "below", 0.5),
        Claim("the E8 adjoint has the face numbers of the polytope 4_21", "e8.wrong", "below", 0.5),
        Claim("f-vectors of rank 8 take less than a second", "e8.seconds", "below", 1.0),
        Claim(
            "forgetting the inactive nodes beside a face (J_max = J_min) is noticed in over a tenth of the modules",
            "control.wrong",
            "above",
            0.1,
            control=True,
        ),
    ],
    uses=[
        "erlangen.groups.highest_weight.faces",
        "erlangen.groups.highest_weight.module",
        "erlangen.groups.highest_weight.weights",
        "erlangen.groups.highest_weight.hull",
        "erlangen.groups.cartan.cartan_type",
    ],
    laptop_seeds=5,
    explanation=(
        "Modules are drawn at random: types of rank at most 4 and Kac-Moody matrices of rank 2 and 3 with entries down to "
        "-3, labels 0 to 2, integrable at a random set of nodes with a finite Weyl group; four modules of E6 are always "
        "there. Infinite weight sets are cut below every vertex and first step of a ray. Modules that need more than "
        f"{LIMIT} weights are drawn again. `e8.seconds` is the slowest of the f-vectors of E8 with all 0/1 labels tried."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Counts of disagreements, over a random battery, of the rule, of a broken rule, and of inclusions."""
    rng = random.Random(seed)
    wrong, broken, modules = 0, 0, set[HighestWeightModule]()
    queue = [HighestWeightModule("E6", weight) for weight in E6]
    while len(modules) < SIZES[budget]:
        module = queue.pop() if queue else draw(rng)
        if module in modules:
            continue
        try:
            truth = hull_f_vector(module, limit=LIMIT)
        except ValueError:  # more weights than a quick hull takes
            continue
        modules.add(module)
        wrong += module.f_vector() != truth
        broken += _without_inactive(module) != truth
    pairs, mismatches = _inclusions(rng, 20 if budget == "smoke" else 150)
    seconds = [_e8_seconds([rng.randint(0, 1) for _ in range(8)]) for _ in range(5)] + [_e8_seconds([1] * 8)]
    return {
        "battery.modules": float(len(modules)),
        "battery.wrong": float(wrong),
        "control.wrong": broken / len(modules),
        "inclusions.pairs": float(pairs),
        "inclusions.wrong": float(mismatches),
        "e8.wrong": float(HighestWeightModule("E8", [0] * 7 + [1]).f_vector() != FOUR_21),
        "e8.seconds": max(seconds),
        "e8.median_seconds": statistics.median(seconds),
    }


def draw(rng: random.Random) -> HighestWeightModule:
    """A random module whose hull can be counted by brute force."""
    cartan = CartanType(rng.choice(FINITE)) if rng.random() < 0.75 else _kac_moody(rng)
    weight = [rng.choice((0, 0, 1, 1, 2)) for _ in range(cartan.rank)]
    if cartan.kind == "finite" and rng.random() < 0.5:
        return HighestWeightModule(cartan, weight)
    nodes = [i for i in range(cartan.rank) if rng.random() < 0.6]
    while isinstance(cartan.weyl_order(nodes), float):
        nodes.remove(rng.choice(nodes))
    return HighestWeightModule(cartan, weight, integrable=nodes)


def _kac_moody(rng: random.Random) -> CartanType:
    rank = rng.choice((2, 3))
    matrix = [[2 if i == j else 0 for j in range(rank)] for i in range(rank)]
    for i, j in itertools.combinations(range(rank), 2):
        if rng.random() < 0.8:
            matrix[i][j], matrix[j][i] = -rng.randint(1, 3), -rng.randint(1, 3)
    return CartanType.from_matrix(matrix)


def _without_inactive(module: HighestWeightModule) -> tuple[int | float, ...]:
    """The f-vector with stabilisers that leave out the inactive nodes beside a face."""
    counts: list[int | float] = [0] * (module.dim + 1)
    for face in module.faces():
        counts[face.dim] += module.cartan.weyl_index(module.integrable, module.integrable & face.nodes)
    return tuple(counts)


def _inclusions(rng: random.Random, modules: int) -> tuple[int, int]:
    """Pairs of faces compared, and how often the rule and the weights disagree, on finite modules of rank 2 and 3."""
    pairs = mismatches = 0
    for _ in range(modules):
        cartan = CartanType(rng.choice(["A2", "B2", "G2", "A3"]))
        module = HighestWeightModule(cartan, [rng.randint(0, 1) for _ in range(cartan.rank)])
        weights = module.weights()
        sets = [face.nodes for face in module.faces()]
        for _ in range(20):
            (w, j), (v, k) = (
                (tuple(rng.choices(range(cartan.rank), k=rng.randint(0, 4))), rng.choice(sets)) for _ in range(2)
            )
            mismatches += module.includes((w, j), (v, k)) != (
                _moved(module, weights, w, j) <= _moved(module, weights, v, k)
            )
            pairs += 1
    return pairs, mismatches


def _moved(
    module: HighestWeightModule, weights: list[tuple[int, ...]], word: tuple[int, ...], nodes: frozenset[int]
) -> set[tuple[int, ...]]:
    """The weights of w·wt_J by reflecting those with support in J."""
    out = set()
    for c in weights:
        if all(i in nodes or not value for i, value in enumerate(c)):
            for i in reversed(word):
                c = (*c[:i], c[i] + module.labels(c)[i], *c[i + 1 :])
            out.add(c)
    return out


def _e8_seconds(weight: list[int]) -> float:
    started = time.perf_counter()
    HighestWeightModule("E8", weight).f_vector()
    return time.perf_counter() - started
