"""One case for every registered objective: what two processes must compute like one.

A case builds encoder and objective in float64, the same at every call and without layers that couple samples (no batch
norm), and a batch of ten. `test_distributed.py` fails for an objective that has none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from erlangen import objectives
from erlangen.data import PairBatch

DIM = 5


class FlatLinear(torch.nn.Module):
    """A linear encoder without batch statistics, so that the loss alone couples the samples."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(16, DIM, dtype=torch.float64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.linear(x.flatten(1)))


class SmallMaps(torch.nn.Module):
    """An encoder with a feature map and without batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 4, 3, padding=1, dtype=torch.float64)
        self.linear = torch.nn.Linear(4, DIM, dtype=torch.float64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.tanh(self.conv(x)).mean((-2, -1)))


@dataclass(frozen=True)
class DistributedCase:
    """`finish` changes an objective after `setup`; `batch` and `encoder` replace the usual ones."""

    arguments: dict[str, Any]
    finish: Callable[[Any], None] = lambda objective: None
    encoder: Callable[[], torch.nn.Module] = FlatLinear
    batch: Callable[[], PairBatch] | None = None


def plain_expander(objective: Any) -> None:
    objective.expander = torch.nn.Linear(DIM, 12)  # batch norm couples samples by itself: leave it out


def frozen_elsewhere(objective: Any) -> None:
    """An old model that is not the new one, or the compatibility term would sit at its minimum."""
    with torch.no_grad():
        for parameter in objective.old.parameters():
            parameter.add_(0.3 * torch.sin(torch.arange(parameter.numel()).view_as(parameter).to(parameter.dtype)))


def frozen_teacher(seed: int) -> FlatLinear:
    """A teacher with the same weights in every process."""
    teacher = FlatLinear()
    torch.nn.init.normal_(teacher.linear.weight, generator=torch.Generator().manual_seed(seed))
    torch.nn.init.zeros_(teacher.linear.bias)
    return teacher


def turned_batch() -> PairBatch:
    from erlangen.groups import SO

    generator = torch.Generator().manual_seed(4)
    x, x2 = (torch.randn(10, 1, 4, 4, dtype=torch.float64, generator=generator) for _ in range(2))
    return PairBatch(x, x2, g=SO(2).sample((10,), generator=generator))


CASES: dict[str, DistributedCase] = {
    "bias_contrast": DistributedCase({"project": False}),
    "generalized_cross_entropy": DistributedCase({}),
    "learning_from_failure": DistributedCase({}),
    "group_dro": DistributedCase({"step_size": 0.5}),
    "deep_hash": DistributedCase({"bits": 6}),
    "guidance": DistributedCase({"guide": frozen_teacher(3), "layer_map": [("linear", "linear")]}),
    "sie": DistributedCase({"split": 2, "layers": 0}, batch=turned_batch),
    "equiangular": DistributedCase({}),
    "stationary": DistributedCase({"old": "start"}, frozen_elsewhere),
    "matryoshka": DistributedCase({"dims": [2, DIM], "tied": True, "weights": [0.5, 1.0]}),
    "cross_entropy": DistributedCase({}),
    "multi_teacher_distillation": DistributedCase({"teachers": [frozen_teacher(1), frozen_teacher(2)]}),
    "nt_xent": DistributedCase({"project": False}),
    "obow": DistributedCase({"num_words": 16, "border": 0, "layers": ["conv"]}, encoder=SmallMaps),
    "rotnet": DistributedCase({"group": "C4"}),
    "triplet": DistributedCase({"mining": "hard", "top_k": 3}),
    "vicreg": DistributedCase({"layers": 2, "width": 12}, plain_expander),
}


def whole_batch(name: str) -> PairBatch:
    made = CASES[name].batch
    if made is not None:
        return made()
    generator = torch.Generator().manual_seed(3)
    x, x2 = (torch.randn(10, 1, 4, 4, dtype=torch.float64, generator=generator) for _ in range(2))
    return PairBatch(x, x2, label=torch.randint(3, (10,), generator=generator))


def part_of(batch: PairBatch, start: int, stop: int) -> PairBatch:
    """Some of the samples, every field cut."""

    def cut(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(cut(v) for v in value)
        return None if value is None else value[start:stop]

    return PairBatch(*(cut(getattr(batch, field)) for field in ("x", "x2", "g", "label", "index")))


def run(name: str, batch: PairBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss and the gradient of all parameters in one vector."""
    torch.manual_seed(0)
    case = CASES[name]
    encoder, objective = case.encoder(), objectives.build(name, **case.arguments)
    objective.setup(embedding_dim=DIM, num_classes=3)
    objective.attach(encoder, batch.x[:2])
    case.finish(objective)
    objective.double().train()
    total = objective(encoder, batch).total
    total.backward()
    parameters = [p for p in (*encoder.parameters(), *objective.parameters()) if p.requires_grad]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    return total.detach(), torch.cat([g.flatten() for g in gradients])
