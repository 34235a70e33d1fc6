"""Universal graph networks: one hidden layer of order-k tensors learns distances, with one θ for graphs of every size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from erlangen.data.graphs import GraphFamily, weighted_families
from erlangen.nn.graphs import TensorizedGNN
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import seeded
from erlangen.recipes.recipe import Budget, recipe

SIZES: dict[str, tuple[int, int, int]] = {"smoke": (60, 40, 2), "laptop": (1_000, 500, 30), "full": (3_500, 1_000, 100)}
WIDTHS = (5, 16, 50)


@recipe(
    "universal_gnn",
    title="Universal graph networks: higher order, lower error, one θ for every size",
    source="arXiv:1905.04943",
    claims=[
        Claim("diameter: k = 2 has at most 0.6 times the test error of k = 1 (S = 50)", "diameter.ratio", "below", 0.6),
        Claim("eccentricity: k = 2 below k = 1 (S = 50)", "eccentricity.ratio", "below", 1.0),
        Claim("k = 2: 50 hidden tensors no worse than 5", "diameter.k2.s50", "below", "diameter.k2.s5"),
        Claim("k = 1: 50 hidden tensors no worse than 5", "diameter.k1.s50", "below", "diameter.k1.s5"),
        Claim(
            "one θ: on graphs of 15 nodes, never seen, k = 2 stays below predicting the mean",
            "diameter.unseen_size",
            "below",
            1.0,
        ),
        Claim(
            "with targets shuffled among the training graphs nothing is learned",
            "shuffled.k2",
            "above",
            0.8,
            control=True,
        ),
    ],
    uses=[
        "erlangen.nn.graphs.tensorized_gnn",
        "erlangen.nn.graphs.equivariant_linear",
        "erlangen.data.graphs.families",
    ],
    laptop_seeds=5,
    explanation=(
        "Errors are test mean squares divided by the variance of the targets (of the 15-node graphs for `unseen_size`). Graphs of 5 and 10 "
        "nodes: complete, cycle, path, star, wheel with weights uniform on (0, 1). Sums are ten times the means over nodes, so that one "
        "θ serves every n; 30 epochs of 1,000 graphs, 1,500 steps of Adam, where the paper takes 50·k epochs of 7,000 graphs: "
        "training errors were as high as "
        "test errors when tried, so the networks underfit."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """All widths for the diameter, the widest for the eccentricities, k = 1 and 2, from seeded initial weights."""
    train_size, test_size, epochs = SIZES[budget]
    generator = torch.Generator().manual_seed(seed)
    train = weighted_families(train_size, (5, 10), generator=generator)
    test = weighted_families(test_size, (5, 10), generator=generator)
    unseen = weighted_families(test_size // 2, (15,), generator=generator)
    numbers: dict[str, float] = {}
    for k in (1, 2):
        for width in WIDTHS:
            net = _train(k, width, train, train.diameter, epochs, seed)
            numbers[f"diameter.k{k}.s{width}"] = _error(net, test, test.diameter)
        if k == 2:
            numbers["diameter.unseen_size"] = _error(net, unseen, unseen.diameter)
        nodes = _train(k, WIDTHS[-1], train, train.eccentricity, epochs, seed)
        numbers[f"eccentricity.k{k}"] = _error(nodes, test, test.eccentricity)
    order = torch.randperm(len(train), generator=generator)
    control = _train(2, WIDTHS[1], train, train.diameter[order], epochs, seed)
    numbers["shuffled.k2"] = _error(control, test, test.diameter)
    numbers["diameter.ratio"] = numbers["diameter.k2.s50"] / numbers["diameter.k1.s50"]
    numbers["eccentricity.ratio"] = numbers["eccentricity.k2"] / numbers["eccentricity.k1"]
    return numbers


def _train(
    k: int, width: int, data: GraphFamily, target: Tensor, epochs: int, seed: int, batch: int = 20
) -> TensorizedGNN:
    task = "invariant" if target.ndim == 1 else "equivariant"
    net = seeded(lambda: TensorizedGNN(k, width, task=task), seed)
    assert isinstance(net, TensorizedGNN)
    real = target if task == "invariant" else target[data.mask]
    torch.nn.init.constant_(net.bias, float(real.mean()))
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(data) // batch))
    for _ in range(epochs):
        for index in torch.randperm(len(data), generator=generator).split(batch):
            optimizer.zero_grad()
            _loss(net, data, target, index).backward()
            optimizer.step()
            schedule.step()
    return net


def _loss(net: TensorizedGNN, data: GraphFamily, target: Tensor, index: Tensor) -> Tensor:
    mask = data.mask[index]
    out = net(data.adjacency[index], mask)[..., 0]
    return mse_loss(out, target[index]) if target.ndim == 1 else mse_loss(out[mask], target[index][mask])


def _error(net: TensorizedGNN, data: GraphFamily, target: Tensor) -> float:
    real = target if target.ndim == 1 else target[data.mask]
    with torch.inference_mode():
        return float(_loss(net, data, target, torch.arange(len(data))) / real.var(unbiased=False))
