"""Iterative feature merging beside pruning, without data and without training afterwards, at three widths."""

from __future__ import annotations

from functools import partial

import torch
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from erlangen import data
from erlangen.deploy.feature_merging import apply_plan_
from erlangen.nn import CouplingGraph
from erlangen.nn.parameter_symmetry.groups import Group
from erlangen.nn.parameter_symmetry.iterative_merging import Plan, plan_merges
from erlangen.nn.parameter_symmetry.surgery import tensor_of
from erlangen.nn.tap import Tap
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import seeded
from erlangen.recipes.recipe import Budget, recipe

REMOVED = 0.3
WIDTHS = {"smoke": (1, 2), "laptop": (1, 2, 4), "full": (1, 2, 4)}
IMAGES = {"smoke": 1_200, "laptop": 8_000, "full": 60_000}
EPOCHS = {"smoke": 12, "laptop": 12, "full": 20}
LOSS = 0.01
TOLERANCES = (0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7)


@recipe(
    "feature_merging",
    title="Iterative feature merging: smaller networks without data",
    source="Chen, Zhou and Yan, ICLR 2024",
    claims=[
        Claim("units made twice are found and removed", "planted.left", "below", 1.001),
        Claim("30 % of the parameters go at a loss of at most a point", "merged.x4", "above", "base.x4", margin=-LOSS),
        Claim("better by 5 points than pruning by weight norm", "merged.x4", "above", "l1.x4", margin=0.05),
        Claim("better by 5 points than random pruning", "merged.x4", "above", "random.x4", margin=0.05),
        Claim("wider networks can lose a larger part: x4 above x1", "removable.x4", "above", "removable.x1"),
        Claim("at the small width too it beats pruning by weight norm", "merged.x1", "above", "l1.x1"),
        Claim(
            "merging units at random instead of like ones does worse",
            "shuffled.x4",
            "below",
            "merged.x4",
            control=True,
        ),
    ],
    uses=[
        "erlangen.deploy.feature_merging",
        "erlangen.nn.parameter_symmetry.iterative_merging",
        "erlangen.nn.parameter_symmetry.surgery",
    ],
    laptop_seeds=3,
    explanation=(
        "Three convolutions and two linear layers on Fashion-MNIST at 14 x 14, at widths 1, 2 and 4; all methods keep "
        "the same number of units in each layer, so that they remove the same parameters, and none is trained "
        "afterwards. `l1` keeps the units with the largest weights, `correlation` merges those whose activations on "
        "1,000 training images correlate most (it sees data), `shuffled` merges at random. `removable` is the largest "
        "part of the parameters that goes at a loss of at most a point on images kept from training. The published "
        "networks are VGG and ResNet on CIFAR-10 and ImageNet."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Accuracies at `REMOVED` of the parameters for every width and method, and the removable part."""
    x, y, asked, answers = _images(budget, seed)
    held, truth = x[-len(x) // 6 :], y[-len(x) // 6 :]
    x, y = x[: -len(held)], y[: -len(held)]
    numbers: dict[str, float] = {}
    for width in WIDTHS[budget]:
        model = seeded(partial(_network, width, x.shape[-1]), seed)
        _fit(model, x, y, EPOCHS[budget], seed)
        graph = CouplingGraph.from_model(model, x[:2])
        plan = _plan_for(model, graph, REMOVED)
        generator = torch.Generator().manual_seed(seed)
        kept = {name: after for name, (_, after) in plan.widths().items()}
        others = {
            "merged": _applied(model, graph, plan),
            "shuffled": _applied(model, graph, _shuffled(plan, generator)),
            "correlation": _applied(model, graph, _correlated(model, graph, kept, x[:1000])),
            "l1": graph.slice(model, {n: _norm(model, graph.groups[n]).topk(k).indices for n, k in kept.items()}),
            "random": graph.slice(
                model, {n: torch.randperm(graph.groups[n].size, generator=generator)[:k] for n, k in kept.items()}
            ),
        }
        numbers[f"base.x{width}"] = _accuracy(model, asked, answers)
        numbers[f"removed.x{width}"] = 1 - _size(others["merged"]) / _size(model)
        numbers |= {f"{method}.x{width}": _accuracy(other, asked, answers) for method, other in others.items()}
        numbers[f"removable.x{width}"] = _removable(model, graph, held, truth)
        if width == 1:
            numbers["planted.left"] = _planted(model, x)
    if "base.x4" not in numbers:  # the smoke run has no room for the widest network; its largest stands in
        numbers |= {k.replace("x2", "x4"): v for k, v in numbers.items() if k.endswith("x2")}
    return numbers


def _images(budget: Budget, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    loaded = data.load("digits" if budget == "smoke" else "fashion_mnist")
    order = torch.randperm(len(loaded.splits["train"]), generator=torch.Generator().manual_seed(seed))
    train = torch.as_tensor(loaded.splits["train"])[order[: IMAGES[budget]]]
    test = torch.as_tensor(loaded.splits["test"])[: 400 if budget == "smoke" else 3000]

    def pixels(rows: Tensor) -> Tensor:
        x = torch.as_tensor(loaded.x)[rows].float()
        x = nn.functional.avg_pool2d(x, 2) if x.shape[-1] > 16 else x
        return (x - x.mean()) / x.std()

    label = torch.as_tensor(loaded.label).long()
    return pixels(train), label[train], pixels(test), label[test]


def _network(width: int, pixels: int) -> nn.Sequential:
    a, b, c, d = 6 * width, 12 * width, 24 * width, 24 * width
    left = pixels // 2 // 2
    return nn.Sequential(
        nn.Conv2d(1, a, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(a, b, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(b, c, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(left),
        nn.Flatten(),
        nn.Linear(c, d),
        nn.ReLU(),
        nn.Linear(d, 10),
    )


def _fit(model: nn.Module, x: Tensor, y: Tensor, epochs: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4)
    steps = epochs * (len(x) // 100)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(100)[: len(x) // 100]:
            optimizer.zero_grad()
            cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
            schedule.step()
    model.eval()


@torch.no_grad()
def _accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return float(torch.cat([model(p).argmax(1) for p in x.split(500)]).eq(y).float().mean())


def _size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _applied(model: nn.Module, graph: CouplingGraph, plan: Plan) -> nn.Module:
    copied = graph.merge(model, {})
    apply_plan_(copied, graph, plan)
    return copied


def _plan_for(model: nn.Module, graph: CouplingGraph, removed: float) -> Plan:
    """The plan of the smallest tolerance (found by halving) that removes this part of the parameters."""
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        gone = 1 - _size(_applied(model, graph, plan_merges(model, graph, beta=middle))) / _size(model)
        low, high = (low, middle) if gone >= removed else (middle, high)
    return plan_merges(model, graph, beta=high)


def _removable(model: nn.Module, graph: CouplingGraph, x: Tensor, y: Tensor) -> float:
    base, best = _accuracy(model, x, y), 0.0
    for beta in TOLERANCES:
        smaller = _applied(model, graph, plan_merges(model, graph, beta=beta))
        if _accuracy(smaller, x, y) < base - LOSS:
            break
        best = 1 - _size(smaller) / _size(model)
    return best


def _shuffled(plan: Plan, generator: torch.Generator) -> Plan:
    """The same numbers of units merged, but not the like ones."""
    dealt = {n: c[torch.randperm(len(c), generator=generator)] for n, c in plan.clusters.items()}
    return Plan(dealt, plan.rules)


def _norm(model: nn.Module, group: Group) -> Tensor:
    """The sum of absolute incoming weights of every unit."""
    total = torch.zeros(group.size)
    for slot in group.slots:
        t = tensor_of(model, slot.name).detach()
        if slot.role == "writes" and t.dim() > 1:
            rows = t.movedim(slot.axis, 0)[slot.index.flatten()]
            total += rows.abs().flatten(1).sum(1).view(group.size, -1).sum(1)
    return total


def _correlated(model: nn.Module, graph: CouplingGraph, kept: dict[str, int], x: Tensor) -> Plan:
    """Average-linkage clusters of units by the correlation of their activations, as many as are kept."""
    behind = {name: str(int(name) + 1) for name in kept}  # the ReLU behind each layer of the sequence
    with Tap(model, list(behind.values()), pool=None) as tap, torch.no_grad():
        model(x)
    clusters = {}
    for name, number in kept.items():
        value = tap.activations[behind[name]]
        rows = value.transpose(0, 1).flatten(1).double()
        distance = 1 - torch.nan_to_num(torch.corrcoef(rows))
        tree = linkage(distance[tuple(torch.triu_indices(len(rows), len(rows), 1))].clamp(min=0).numpy(), "average")
        clusters[name] = torch.from_numpy(fcluster(tree, number, "maxclust")).long()
    return Plan(clusters, dict.fromkeys(clusters, "mean_in_sum_out"))


def _planted(model: nn.Module, x: Tensor) -> float:
    """Width left over width before, when every unit of the first layer is there twice."""
    wide = _network(2, x.shape[-1])
    a = 6
    with torch.no_grad():
        for own, other in zip(wide.parameters(), model.parameters(), strict=True):
            own.zero_()
            own[tuple(slice(0, n) for n in other.shape)] = other
        first, bias, second, *_ = model.parameters()
        wide[0].weight[a:], wide[0].bias[a:] = first, bias  # type: ignore[index, operator]
        wide[3].weight[: len(second)] = torch.cat([second / 2, second / 2], 1)  # type: ignore[index, operator]
    graph = CouplingGraph.from_model(wide, x[:2])
    return plan_merges(wide, graph, beta=0.0).widths()["0"][1] / a
