"""Transitive invariance: two cheap kinds of pairs, and what the pairs that follow from them add."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample

from erlangen import data
from erlangen.data import PairGraph
from erlangen.nn.images import PlainCNN
from erlangen.objectives import TripletSiameseLoss
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import seeded
from erlangen.recipes.recipe import Budget, recipe
from erlangen.stats.neighbors import knn_classify

STEPS: dict[str, int] = {"smoke": 4, "laptop": 250, "full": 3000}
OBJECTS: dict[str, int] = {"smoke": 60, "laptop": 800, "full": 4000}
FRAMES = 5  # of one object's film, the middle one upright
REGIMES = {
    "intra": {"intra": 1.0},
    "inter": {"inter": 1.0},
    "multitask": {"intra": 1.0, "inter": 1.0},
    "transitive": {"intra": 1.0, "inter": 1.0, "transitive": 2.0},
    "shuffled": {"intra": 1.0, "inter": 1.0, "shuffled": 2.0},
}


def film(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each image turned, scaled and lit along a smooth path through its upright view: `[n, ...] -> [n, FRAMES, ...]`."""
    n = len(x)

    def drawn(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, 1, generator=generator)

    time = torch.linspace(-1, 1, FRAMES)
    side = torch.where(drawn(0.0, 1.0) < 0.5, -1.0, 1.0)
    angle, size = side * drawn(0.6, 1.2) * time, (drawn(-0.25, 0.25) * time).exp()
    shift = drawn(-0.15, 0.15) * time
    theta = torch.stack(
        [angle.cos() * size, -angle.sin() * size, shift, angle.sin() * size, angle.cos() * size, -shift], -1
    )
    frames = x.repeat_interleave(FRAMES, 0)
    grid = affine_grid(theta.view(-1, 2, 3), list(frames.shape), align_corners=False)
    light = (drawn(-0.4, 0.4) * time).exp().reshape(-1, 1, 1, 1)
    return (grid_sample(frames, grid, align_corners=False) * light).unflatten(0, (n, FRAMES))


def lookalikes(x: Tensor) -> Tensor:
    """Pairs `[m, 2]` of upright images that are each other's nearest in 8 x 8 pixels, standardised."""
    rows = avg_pool2d(x, max(1, x.shape[-1] // 8)).flatten(1)
    rows = rows - rows.mean(1, keepdim=True)
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-6)
    nearest = (rows @ rows.mT).fill_diagonal_(-2).argmax(1)
    one = torch.arange(len(x))
    mutual = (nearest[nearest] == one) & (one < nearest)
    return torch.stack([one[mutual], nearest[mutual]], 1)


def graph_of(x: Tensor, *, generator: torch.Generator) -> tuple[PairGraph, Tensor]:
    """The graph whose nodes are frames, and their components.

    "intra" joins an object's middle frame to its others, "inter" the middle frames of lookalikes, and "transitive" closes
    that; "shuffled" is as many pairs of random frames, a control that the components leave aside.
    """
    count, middle = len(x), FRAMES // 2
    graph = PairGraph(count * FRAMES)
    others = torch.tensor([f for f in range(FRAMES) if f != middle])
    base = torch.arange(count)[:, None] * FRAMES
    graph.add((base + middle).expand(-1, FRAMES - 1).flatten(), (base + others).flatten(), "intra")
    alike = lookalikes(x) * FRAMES + middle
    closed = graph.add(alike[:, 0], alike[:, 1], "inter").close(max_hops=3)
    components = closed.components()
    m = len(closed.pairs("transitive"))
    random = torch.randint(graph.num_nodes, (m, 2), generator=generator)
    random = random[random[:, 0] != random[:, 1]]
    return closed.add(random[:, 0], random[:, 1], "shuffled"), components


@recipe(
    "transitive",
    title="Transitive invariance: pairs that follow from pairs",
    source="arXiv:1708.02901",
    claims=[
        Claim("transitive pairs beat tracks alone", "transitive.accuracy", "above", "intra.accuracy"),
        Claim("transitive pairs beat lookalikes alone", "transitive.accuracy", "above", "inter.accuracy"),
        Claim("transitive pairs beat both kinds as two tasks", "transitive.accuracy", "above", "multitask.accuracy"),
        Claim("transitive pairs teach more than no training", "transitive.accuracy", "above", "random.accuracy"),
        Claim(
            "as many random pairs in their place teach less",
            "shuffled.accuracy",
            "below",
            "transitive.accuracy",
            control=True,
        ),
    ],
    uses=["erlangen.data.pairs.pair_graph", "erlangen.data.pairs.closure", "erlangen.objectives.triplet"],
    laptop_seeds=3,
    explanation=(
        "Real images of clothes (FashionMNIST; the digits at smoke), each filmed by a known smooth turn, scaling, shift "
        "and light instead of a video. Lookalikes are upright frames that are each other's nearest in 8 x 8 pixels; "
        "`precision` is how often they share a class, `transitive_precision` that of the pairs that follow, neither used "
        "in training. Nearest neighbours that are not mutual would join nearly all objects in one component and leave no "
        "negatives. `accuracy` is of a 5-nearest-neighbour vote by cosine, of frames at the ends of unseen films against "
        "upright labelled ones. All regimes take the same number of steps with the same number of pairs and the same "
        "components. Lookalikes alone are all upright, so that a network of theirs has never seen a turned frame. "
        "Tracks alone spend every pair on the viewpoints that the question is about, which is hard to beat in few steps."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Each mixture of kinds of pairs from the same initial encoder, for as many steps."""
    loaded = data.load("digits") if budget == "smoke" else data.load("fashion_mnist")
    generator = torch.Generator().manual_seed(seed)
    count = OBJECTS[budget]
    chosen = torch.randperm(len(loaded.train), generator=generator)[: 2 * count]
    x, label = loaded.train.tensors(chosen)
    if x.shape[-1] > 16:
        x = avg_pool2d(x, 2)
    seen, unseen, labels, asked = x[:count], x[count:], label[:count], label[count:]
    frames, test = film(seen, generator).flatten(0, 1), film(unseen, generator)
    graph, components = graph_of(seen, generator=generator)
    ends = test[:, [0, -1]].flatten(0, 1)

    def accuracy(encoder: nn.Module) -> float:
        with torch.inference_mode():
            gallery, query = encoder.eval()(seen), encoder(ends)
        found = knn_classify(query, gallery, labels, int(label.max()) + 1, k=5)
        return float((found == asked.repeat_interleave(2)).double().mean())

    def same(kind: str) -> float:
        i, j = (graph.pairs(kind) // FRAMES).T
        return float((labels[i] == labels[j]).double().mean())

    def build() -> nn.Module:
        return PlainCNN(8 if budget == "smoke" else 12, in_channels=1, embedding_dim=48)

    numbers = {"precision": same("inter"), "transitive_precision": same("transitive")}
    numbers["random.accuracy"] = accuracy(seeded(build, seed))
    for name, weights in REGIMES.items():
        encoder = seeded(build, seed)
        _train(encoder, frames, graph, components, weights, STEPS[budget], seed)
        numbers[f"{name}.accuracy"] = accuracy(encoder)
    return numbers


def _train(
    encoder: nn.Module,
    frames: Tensor,
    graph: PairGraph,
    components: Tensor,
    weights: dict[str, float],
    steps: int,
    seed: int,
) -> None:
    """Triplets over pairs of frames; negatives are of other components."""
    objective = TripletSiameseLoss(mining="random_then_hard")
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(seed)
    encoder.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for step in range(steps):
            pairs, _ = graph.sample(64, kind_weights=weights, generator=generator)
            z = encoder(frames[pairs.T.flatten()])
            loss = objective.loss(z[:64], z[64:], components[pairs[:, 0]]).total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            objective.after_step(encoder, step=step + 1, total_steps=steps)
