"""Optimizers by name and learning rates as a function of the step."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from erlangen._registry import unknown_name
from erlangen.train.lars import LARS

OPTIMIZERS = ("adam", "adamw", "lars", "sgd")
SCHEDULES = ("constant", "cosine", "linear")


def build_optimizer(
    name: str, parameters: Iterable[nn.Parameter], *, lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    """The optimizer `name`; weight decay falls on matrices and filters, not on biases and norms."""
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "lars": LARS, "sgd": torch.optim.SGD}
    if name not in kinds:
        raise unknown_name("optimizer", name, list(kinds))
    trainable = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    extra = {"momentum": 0.9, "nesterov": True} if name == "sgd" else {}
    return kinds[name]([g for g in groups if g["params"]], lr=lr, **extra)  # type: ignore[arg-type]


def rate_factor(schedule: str, step: int, total: int) -> float:
    """The learning rate at `step` of `total` as a fraction of the peak: 5 % of linear warm-up, then the schedule.

    A function of the step and of nothing else, so there is no scheduler state to save.
    """
    warmup = max(1, min(total // 20, 500))
    if schedule == "constant":
        return 1.0
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "linear":
        return 1 - progress
    raise unknown_name("schedule", schedule, list(SCHEDULES))
