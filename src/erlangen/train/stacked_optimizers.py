"""Optimizer rules on weights stacked along a first axis, with a rate and a decay for each member."""

from collections.abc import Sequence

import torch
from torch import Tensor

from erlangen._registry import unknown_name

OPTIMIZERS = ("sgd", "adam", "adamw")


class StackedOptimizer:
    """`sgd`, `adam` and `adamw` as torch.optim has them, where the rate may differ between members.

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
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        if name not in OPTIMIZERS:
            raise unknown_name("optimizer", name, list(OPTIMIZERS))
        self.name, self.momentum, self.betas, self.eps = name, momentum, betas, eps
        members = len(next(iter(parameters.values())))
        self.lr = _per_member("lr", lr, members)
        self.weight_decay = _per_member("weight_decay", weight_decay, members)
        self.count = 0
        self.first = {n: torch.zeros_like(p) for n, p in parameters.items()}
        self.second = {n: torch.zeros_like(p) for n, p in parameters.items()} if name != "sgd" else {}

    @torch.no_grad()
    def step(self, parameters: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
        """One step, in place."""
        self.count += 1
        for name, p in parameters.items():
            g = gradients[name]
            lr, decay = _aligned(self.lr, p), _aligned(self.weight_decay, p)
            if self.name == "adamw":
                p.mul_(1 - lr * decay)
            elif bool((self.weight_decay != 0).any()):
                g = g + decay * p
            if self.name == "sgd":
                p.sub_(lr * self._momentum(name, g))
            else:
                p.sub_(lr * self._adam(name, g))

    def _momentum(self, name: str, g: Tensor) -> Tensor:
        if self.momentum == 0:
            return g
        return self.first[name].mul_(self.momentum).add_(g)

    def _adam(self, name: str, g: Tensor) -> Tensor:
        one, two = self.betas
        self.first[name].lerp_(g, 1 - one)
        self.second[name].mul_(two).addcmul_(g, g, value=1 - two)
        root = (self.second[name] / (1 - two**self.count)).sqrt_().add_(self.eps)
        return self.first[name] / (1 - one**self.count) / root


def _per_member(argument: str, value: float | Sequence[float], members: int) -> Tensor:
    numbers = torch.as_tensor(value, dtype=torch.float64)
    if numbers.ndim > 1 or (numbers.ndim == 1 and len(numbers) != members):
        raise ValueError(f"{argument}: {tuple(numbers.shape)} numbers for {members} members; give one, or one for each")
    if not bool((numbers >= 0).all()):
        raise ValueError(f"{argument}: {value}; it must not be negative")
    return numbers.expand(members)


def _aligned(numbers: Tensor, p: Tensor) -> Tensor:
    return numbers.to(p).reshape(-1, *([1] * (p.ndim - 1)))
