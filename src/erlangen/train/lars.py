"""Layer-wise adaptive rates: the optimizer of self-supervised learning with large batches."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class LARS(torch.optim.Optimizer):
    """`v ← m v + q (∇ + wd θ)`, `θ ← θ - lr v` with the trust ratio `q = η |θ| / |∇ + wd θ|` of each parameter tensor.

    One-dimensional parameters (biases, norms) get neither ratio nor decay: q = 1. Where a norm is zero, q = 1.

    Source: Y. You, I. Gitman, B. Ginsburg, Large batch training of convolutional networks, 2017, arXiv:1708.03888;
    the exclusion of one-dimensional parameters is that of VICReg's trainer (arXiv:2105.04906), whose rates are
    lr = 0.2 · batch / 256, decay 1e-6, ten epochs of warm-up and a cosine to a thousandth of the rate.

    Arguments:
        params: parameters or parameter groups.
        lr: the rate.
        momentum: m.
        weight_decay: wd, inside the ratio.
        eta: η.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eta: float = 1e-3,
    ) -> None:
        for name, value in (("lr", lr), ("momentum", momentum), ("weight_decay", weight_decay), ("eta", eta)):
            if not value >= 0:
                raise ValueError(f"{name}: {value}; it must not be negative")
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "eta": eta})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                update = p.grad
                if p.ndim > 1:
                    update = update + group["weight_decay"] * p
                    size, change = torch.linalg.vector_norm(p), torch.linalg.vector_norm(update)
                    ratio = torch.where((size > 0) & (change > 0), group["eta"] * size / change, torch.ones_like(size))
                    update = update * ratio
                state = self.state[p]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].mul_(group["momentum"]).add_(update)
                p.sub_(group["lr"] * state["momentum"])
        return loss
