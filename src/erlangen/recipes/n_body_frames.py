"""Frame averaging of a graph network that predicts where five charged particles will be."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from erlangen.data.n_body import charged_particles
from erlangen.groups import O
from erlangen.groups.symmetry import Symmetry
from erlangen.nn.symmetrize import Symmetrized, symmetrize
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import seeded
from erlangen.recipes.recipe import Budget, recipe
from erlangen.testing import check

SYMMETRY = Symmetry("E(3)", input=("points", "vectors", "scalars"), output="points")
SIZES: dict[str, tuple[int, int, int, int]] = {  # training and test systems, epochs, width
    "smoke": (64, 32, 2, 12),
    "laptop": (1_000, 500, 95, 60),
    "full": (3_000, 2_000, 600, 60),
}
System = tuple[Tensor, Tensor, Tensor]


class ParticleGNN(nn.Module):
    """Messages between all pairs of particles, four times; positions plus a displacement come out.

    Positions and velocities `[B, N, 3]` and charges `[B, N, 1]` -> positions `[B, N, 3]`. No symmetry but that of names.
    """

    def __init__(self, width: int = 60, layers: int = 4) -> None:
        super().__init__()
        self.embed = nn.Linear(7, width)
        self.sender = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.receiver = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(layers))
        self.charge = nn.ParameterList(torch.randn(width) / width**0.5 for _ in range(layers))
        self.message = nn.ModuleList(
            nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU()) for _ in range(layers)
        )
        self.update = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width)) for _ in range(layers)
        )
        self.out = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 3))

    def forward(self, x: Tensor, v: Tensor, charge: Tensor) -> Tensor:
        h = self.embed(torch.cat([x, v, charge], -1))
        pairs = (charge * charge.mT)[..., None]
        others = 1 - torch.eye(x.shape[-2], dtype=x.dtype, device=x.device)[..., None]
        for sender, receiver, weight, message, update in zip(
            self.sender, self.receiver, self.charge, self.message, self.update, strict=True
        ):
            edges = message(sender(h)[:, None] + receiver(h)[:, :, None] + pairs * weight)
            h = h + update(torch.cat([h, (edges * others).sum(-2)], -1))
        return x + self.out(h)


@recipe(
    "n_body_frames",
    title="Frame averaging: charged particles predicted by an ordinary graph network",
    source="arXiv:2110.03336",
    claims=[
        Claim("frame averaged, the error is at most 0.7 of the plain network's", "fa.ratio", "below", 0.7),
        Claim("rotated and reflected, the frame averaged error stays (relative change)", "fa.gap", "below", 1e-3),
        Claim("exactly equivariant: the checker's relative error in float64", "fa.error", "below", 1e-9),
        Claim("it beats the plain network trained on rotated copies", "fa.mse", "below", "augmented.mse"),
        Claim("the plain network is not equivariant", "gnn.error", "above", 0.01, control=True),
        Claim("all of them beat the particles flying straight on", "gnn.mse", "below", "straight.mse", control=True),
    ],
    uses=["erlangen.nn.symmetrize", "erlangen.groups.frames.pca", "erlangen.data.n_body"],
    laptop_seeds=3,
    explanation=(
        "`mse` is the mean squared error of the positions one second ahead, over test systems; `gap` the relative change "
        "of the mean squared error under random rotations and reflections of the test systems. The frame averaged network "
        "trains on one random element of the frame a system and step (`mode='sample'`), at the cost of the plain one, "
        "and is averaged over all eight in the test; initial directions are uniform, so that plain and augmented "
        "networks see the same distribution and differ in how much of it. Softening replaces the cut-off of forces."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Plain, plain with rotated copies, and frame averaged, from the same initial weights."""
    train_size, test_size, epochs, width = SIZES[budget]
    generator = torch.Generator().manual_seed(seed)
    steps = 100 if budget == "smoke" else 1_000
    data = charged_particles(train_size + test_size, steps=steps, dt=1.0 / steps, generator=generator)
    system = (data.positions[:, 0], data.velocities[:, 0], data.charges[..., None])
    goal = data.positions[:, 1]
    train = tuple(part[:train_size] for part in system), goal[:train_size]
    test = tuple(part[train_size:] for part in system), goal[train_size:]
    turns = O(3).sample((test_size,), generator=generator)
    turned = (test[0][0] @ turns.mT, test[0][1] @ turns.mT, test[0][2]), test[1] @ turns.mT

    def backbone() -> nn.Module:
        return seeded(lambda: ParticleGNN(width), seed)

    averaged = symmetrize(backbone(), SYMMETRY, mode="sample", generator=torch.Generator().manual_seed(seed))
    models: dict[str, nn.Module] = {"gnn": backbone(), "augmented": backbone(), "fa": averaged}
    straight = test[0][0] + test[0][1] * float(data.times[1])
    numbers = {"straight.mse": float((straight - test[1]).square().mean())}
    for name, model in models.items():
        _train(model, *train, epochs, seed, augment=name == "augmented")
        if isinstance(model, Symmetrized):
            model.mode = "mean"
        upright, after = _error(model, *test), _error(model, *turned)
        numbers |= {f"{name}.mse": upright, f"{name}.gap": abs(after - upright) / upright}
        if name != "augmented":
            few = tuple(part[:4].double() for part in test[0])
            numbers[f"{name}.error"] = check(model, SYMMETRY, few, seed=seed, risks=False).worst_error
    return numbers | {"fa.ratio": numbers["fa.mse"] / numbers["gnn.mse"]}


def _train(
    model: nn.Module,
    system: tuple[Tensor, ...],
    goal: Tensor,
    epochs: int,
    seed: int,
    *,
    augment: bool,
    batch: int = 50,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    count = epochs * -(-len(goal) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=count)
    for _, index in itertools.product(range(epochs), range(-(-len(goal) // batch))):
        if index == 0:
            order = torch.randperm(len(goal), generator=generator)
        rows = order[index * batch : (index + 1) * batch]
        x, v, charge, y = (part[rows] for part in (*system, goal))
        if augment:
            turn = O(3).sample((len(rows),), generator=generator).mT
            x, v, y = x @ turn, v @ turn, y @ turn
        optimizer.zero_grad()
        (model(x, v, charge) - y).square().mean().backward()
        optimizer.step()
        schedule.step()
    model.eval()


def _error(model: nn.Module, system: tuple[Tensor, ...], goal: Tensor) -> float:
    with torch.inference_mode():
        return float((model(*system) - goal).square().mean())
