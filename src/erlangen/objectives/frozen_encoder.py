"""Frozen networks inside an objective, described so that a saved run can rebuild them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from erlangen._registry import encoders


class FrozenEncoder(nn.Module):
    """`(x - mean) / std`, then a registered encoder: what stands for a fitted encoder once a run is read again."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return self.model((x - self.mean.reshape(shape)) / self.std.reshape(shape))


def freeze(module: nn.Module) -> nn.Module:
    """The module in evaluation mode, its parameters without gradients, also those that a first batch will make."""
    for parameter in module.parameters():
        parameter.requires_grad = False  # requires_grad_() refuses parameters that do not exist yet
    return module.eval()


def described(module: nn.Module | Mapping[str, Any]) -> Any:
    """A JSON description of a run's encoder or of a registered one; anything else is given back as it is."""
    inner = getattr(module, "model", module)
    name, arguments = getattr(type(inner), "registered_name", None), getattr(inner, "init_arguments", None)
    if isinstance(module, Mapping) or name is None or arguments is None or name not in encoders:
        return module
    if inner is module:
        return {"name": name, "arguments": arguments}
    mean, std = (getattr(module, key, None) for key in ("mean", "std"))
    if not (isinstance(mean, Tensor) and isinstance(std, Tensor)):
        return module
    return {"name": name, "arguments": arguments, "mean": mean.tolist(), "std": std.tolist()}


def frozen(given: nn.Module | Mapping[str, Any]) -> nn.Module:
    """The module itself or the one that a description names, without gradients and in evaluation mode.

    Only registered encoders are rebuilt; their weights come with the state of the objective.
    """
    if isinstance(given, nn.Module):
        return freeze(given)
    if not isinstance(given, Mapping) or not isinstance(given.get("arguments"), Mapping):
        raise ValueError(f"teacher: {given!r}; give a module, as `erlangen.load(RUN).encoder`")
    model = encoders.build(str(given.get("name")), **given["arguments"])
    if "mean" in given:
        model = FrozenEncoder(model, torch.tensor(given["mean"]), torch.tensor(given["std"]))
    return freeze(model)
