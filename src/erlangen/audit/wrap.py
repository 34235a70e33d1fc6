"""What a user may call a model, as a module."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Subject(NamedTuple):
    """What is audited: a module (None: data alone); if it is a fitted run, what the run knows besides; `inside`, a
    module that the audited one calls without owning it."""

    model: nn.Module | None
    name: str
    classifier: Callable[[Tensor], Tensor | None] | None = None
    run: Any = None
    inside: Any = None


class FunctionModel(nn.Module):
    """A function of a batch, or of parameters and a batch, as a module.

    A copy with fresh weights exists where the parameters are given, not of a function that keeps them to itself.
    """

    def __init__(self, function: Callable[..., Any], parameters: Any = None, *, can_be_reset: bool = True) -> None:
        super().__init__()
        self.can_be_reset = can_be_reset and parameters is not None
        self.function, self.arguments = function, parameters
        for i, tensor in enumerate(_tensors(parameters)):
            if isinstance(tensor, nn.Parameter):
                self.register_parameter(f"value{i}", tensor)
            else:
                self.register_buffer(f"value{i}", tensor)

    def forward(self, x: Tensor) -> Any:
        return self.function(x) if self.arguments is None else self.function(self.arguments, x)


def as_subject(model: Any) -> Subject:
    """A module, a fitted run, a function `x -> rows`, a pair `(function, parameters)`, or None for data alone."""
    if model is None:
        return Subject(None, "no model")
    if isinstance(model, torch.jit.ScriptModule):  # compiled: its layers cannot be listened to
        weights = [nn.Parameter(p.detach(), requires_grad=p.requires_grad) for p in model.parameters()]
        held = [*weights, *model.buffers()]
        name = str(getattr(model, "original_name", "TorchScript"))
        return Subject(FunctionModel(lambda _, x: model(x), held, can_be_reset=False).eval(), name, inside=model)
    if isinstance(model, nn.Module):
        inner = getattr(model, "model", None)
        return Subject(model, type(inner if isinstance(inner, nn.Module) else model).__name__)
    if isinstance(getattr(model, "encoder", None), nn.Module) and hasattr(model, "history"):
        return Subject(model.encoder, type(model.encoder.model).__name__, model.classifier, model)
    pair = isinstance(model, tuple) and len(model) == 2 and callable(model[0])
    if pair or (callable(model) and not isinstance(model, type)):
        function, parameters = model if pair else (model, None)
        name = getattr(function, "__name__", type(function).__name__)
        return Subject(FunctionModel(function, parameters).eval(), name)
    raise TypeError(
        f"model: got {type(model).__name__}; allowed are a torch.nn.Module, a fitted run, a function, a pair of a "
        "function and its parameters, or None to look at the data alone"
    )


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [t for part in value.values() for t in _tensors(part)]
    if isinstance(value, (tuple, list)):
        return [t for part in value for t in _tensors(part)]
    return []
