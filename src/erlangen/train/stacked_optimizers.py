"""Optimizer rules on weights stacked along a first axis, with a rate and a decay for each member."""

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from erlangen._registry import unknown_name

OPTIMIZERS = ("sgd", "adam", "adamw")
FUSED_DEVICES = ("cpu", "cuda")


class StackedOptimizer:
    """`sgd`, `adam` and `adamw` of torch.optim, where the rate may differ between members.

    Neighbours of equal rate and decay are one parameter group, made of views of the stacked weights, so that the fused
    kernels of torch.optim do the work.

    Arguments:
        name: of the rule.
        parameters: name -> `[members, ...]`.
        lr: one rate, or one for each member.
        weight_decay: one, or one for each member: added to the gradient, or decoupled for "adamw".
        momentum: of "sgd".
    """

    def __init__(
        self,
        name: str,
        parameters: dict[str, Tensor],
        *,
        lr: float | Sequence[float],
        weight_decay: float | Sequence[float] = 0.0,
        momentum: float = 0.0,
    ) -> None:
        if name not in OPTIMIZERS:
            raise unknown_name("optimizer", name, list(OPTIMIZERS))
        members = len(next(iter(parameters.values())))
        rates = _per_member("lr", lr, members)
        decays = _per_member("weight_decay", weight_decay, members)
        self._runs: list[slice] = []
        groups = []
        settings = list(zip(rates, decays, strict=True))
        for (rate, decay), places in groupby(range(members), key=settings.__getitem__):
            run = list(places)
            self._runs.append(slice(run[0], run[-1] + 1))
            weights = [p[self._runs[-1]] for p in parameters.values()]
            groups.append({"params": weights, "lr": rate, "weight_decay": decay})
        first = next(iter(parameters.values()))
        fused = all(p.is_floating_point() and p.device.type in FUSED_DEVICES for p in parameters.values())
        options = {"lr": float(rates[0]), "fused": fused and first.dtype in (torch.float32, torch.float64)}
        if name == "sgd":
            self._rule: torch.optim.Optimizer = torch.optim.SGD(groups, momentum=momentum, **options)  # type: ignore[arg-type]
        else:
            self._rule = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name](groups, **options)  # type: ignore[arg-type]

    @torch.no_grad()
    def step(self, parameters: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
        """One step, in place."""
        for group, run in zip(self._rule.param_groups, self._runs, strict=True):
            for weight, name in zip(group["params"], parameters, strict=True):
                weight.grad = gradients[name][run]
        self._rule.step()


def _per_member(argument: str, value: float | Sequence[float], members: int) -> list[float]:
    numbers = torch.as_tensor(value, dtype=torch.float64)
    if numbers.ndim > 1 or (numbers.ndim == 1 and len(numbers) != members):
        raise ValueError(f"{argument}: {tuple(numbers.shape)} numbers for {members} members; give one, or one for each")
    if not bool((numbers >= 0).all()):
        raise ValueError(f"{argument}: {value}; it must not be negative")
    return [float(number) for number in numbers.expand(members)]
