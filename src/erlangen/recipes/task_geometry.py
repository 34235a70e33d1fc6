"""Task geometry: tanh networks take on the geometry of their targets, ReLU networks keep that of their inputs."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from erlangen.audit.geometry import input_alignment, target_alignment
from erlangen.data.factored_task import FactoredTask
from erlangen.recipes.claim import Claim
from erlangen.recipes.recipe import Budget, recipe
from erlangen.train.ensemble import Ensemble, fit_ensemble

STEPS: dict[str, int] = {"smoke": 30, "laptop": 2_500, "full": 10_000}
NETWORKS: dict[str, int] = {"smoke": 2, "laptop": 3, "full": 16}
SEPARATIONS = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)
HIDDEN, INPUTS = 100, 30


class OneHiddenLayer(nn.Module):
    """`W2 phi(W1 x + b1) + b2`; gives the hidden layer too."""

    def __init__(self, activation: Literal["tanh", "relu"], scale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, 1)
        self.activation: nn.Module = nn.Tanh() if activation == "tanh" else nn.ReLU()
        with torch.no_grad():
            for layer in (self.first, self.last):
                layer.weight.normal_(0, scale / layer.in_features**0.5, generator=generator)
                layer.bias.zero_()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.activation(self.first(x))
        return self.last(hidden), hidden


def _loss(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    return nn.functional.softplus(-output[0] * target).mean()


def _key(separation: float) -> str:
    return f"d{round(100 * separation):03d}"


@recipe(
    "task_geometry",
    title="Tanh networks take on the geometry of their targets, ReLU networks keep that of their inputs",
    source="arXiv:2401.13558",
    claims=[
        Claim(f"separation {d}: {text}", f"{_key(d)}.{left}", "above", f"{_key(d)}.{right}")
        for d in (0.2, 0.3, 0.5)
        for text, left, right in (
            ("tanh follows the targets more than ReLU does", "tanh.target", "relu.target"),
            ("ReLU follows the inputs more than tanh does", "relu.input", "tanh.input"),
        )
    ]
    + [
        Claim("SGD as well: tanh follows the targets more", "sgd.tanh.target", "above", "sgd.relu.target"),
        Claim(
            "a fifth of the initial weights as well: tanh follows the targets more",
            "small.tanh.target",
            "above",
            "small.relu.target",
        ),
        Claim("an exact cube as well: tanh follows the targets more", "d000.tanh.target", "above", "d000.relu.target"),
        Claim("one-hot inputs: the two differ by less than 0.05", "d100.gap", "below", 0.05),
        Claim(
            "before training tanh does not follow the targets: alignment below 0.2",
            "start.tanh.target",
            "below",
            0.2,
            control=True,
        ),
    ],
    uses=["erlangen.audit.geometry", "erlangen.data.factored_task"],
    laptop_seeds=5,
    explanation=(
        "Eight conditions of three bits between a cube (separation 0) and one-hot vectors (1) in 30 dimensions, the XOR of "
        "two bits as target, one hidden layer of 100, logistic loss on all conditions, Adam at 2e-3 for 2,500 steps, three "
        "networks a cell. `target` and `input` are centred kernel alignments of the hidden layer. The paper's figures are "
        "of other sizes; an exact cube is listed because the ordering need not hold there."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """All separations of one activation in one ensemble; SGD and a small start at separation 0.3."""
    numbers: dict[str, float] = {}
    for activation in ("tanh", "relu"):
        generator = torch.Generator().manual_seed(1000 * seed)
        cells = [s for s in SEPARATIONS for _ in range(NETWORKS[budget])]
        tasks = [FactoredTask(3, s, targets=((0, 1),), dim=INPUTS, generator=generator) for s in cells]
        members = Ensemble([OneHiddenLayer(activation, 0.5, generator) for _ in tasks])  # type: ignore[arg-type]
        start = _alignments(members, tasks)
        _fit(members, tasks, STEPS[budget], "adam", 2e-3)
        found = _alignments(members, tasks)
        for s in SEPARATIONS:
            own = [i for i, cell in enumerate(cells) if cell == s]
            numbers[f"{_key(s)}.{activation}.target"] = float(found[own, 0].mean())
            numbers[f"{_key(s)}.{activation}.input"] = float(found[own, 1].mean())
            numbers[f"{_key(s)}.{activation}.accuracy"] = float(found[own, 2].mean())
        partly = [i for i, cell in enumerate(cells) if cell == 0.3]
        numbers[f"start.{activation}.target"] = float(start[partly, 0].mean())
        numbers |= _variants(budget, activation, [tasks[i] for i in partly], generator)
    numbers["d100.gap"] = abs(numbers["d100.tanh.target"] - numbers["d100.relu.target"])
    return numbers


def _variants(
    budget: Budget, activation: str, tasks: list[FactoredTask], generator: torch.Generator
) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for name, scale, optimizer, lr in (("sgd", 0.5, "sgd", 0.5), ("small", 0.1, "adam", 2e-3)):
        members = Ensemble([OneHiddenLayer(activation, scale, generator) for _ in tasks])  # type: ignore[arg-type]
        _fit(members, tasks, STEPS[budget], optimizer, lr)
        found = _alignments(members, tasks).mean(0)
        numbers |= {f"{name}.{activation}.target": float(found[0]), f"{name}.{activation}.accuracy": float(found[2])}
    return numbers


def _fit(members: Ensemble, tasks: list[FactoredTask], steps: int, optimizer: str, lr: float) -> None:
    x, y = torch.stack([task.means for task in tasks]), torch.stack([task.targets for task in tasks])
    fit_ensemble(members, x, y, loss=_loss, steps=steps, optimizer=optimizer, lr=lr, each=True)  # type: ignore[arg-type]


def _alignments(members: Ensemble, tasks: list[FactoredTask]) -> Tensor:
    """Target alignment, input alignment and accuracy of every member."""
    out, hidden = members(torch.stack([task.means for task in tasks]), each=True)
    return torch.tensor(
        [
            [target_alignment(h, t.targets), input_alignment(h, t.means), float((o * t.targets > 0).float().mean())]
            for h, o, t in zip(hidden, out, tasks, strict=True)
        ]
    )
