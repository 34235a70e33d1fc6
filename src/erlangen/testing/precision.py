"""See, and lift, the places where a float64 computation passes through float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

LOW = (torch.float32, torch.float16, torch.bfloat16)


class FindIslands(TorchDispatchMode):
    """Records where a float64 tensor is cast down, by the name of the running submodule."""

    def __init__(self, modules: list[nn.Module]) -> None:
        super().__init__()
        self.places: list[str] = []
        self.lowest = "float32"
        self._stack: list[str] = []
        self._handles: list[Any] = []
        for root in modules:
            for name, module in root.named_modules():
                self._handles.append(module.register_forward_pre_hook(self._enter(name or type(root).__name__)))
                self._handles.append(module.register_forward_hook(self._leave, always_call=True))

    def _enter(self, name: str) -> Callable[..., None]:
        return lambda module, args: self._stack.append(name)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._stack:
            self._stack.pop()

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and torch would import its compiler, which takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func is torch.ops.aten._to_copy.default and isinstance(out, Tensor) and out.dtype in LOW:
            source = args[0]
            if source.dtype == torch.float64 and source.numel() > 0:
                place = self._stack[-1] if self._stack else "the function itself"
                if out.dtype != torch.float32:
                    self.lowest = str(out.dtype).removeprefix("torch.")
                if place not in self.places:
                    self.places.append(place)
        return out


class LiftIslands(TorchDispatchMode):
    """Runs every cast to a lower float, and every constant made in one, in float64 instead."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and torch would import its compiler, which takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if kwargs.get("dtype") in LOW:
            kwargs["dtype"] = torch.float64
        args = tree_map(_raise_tensor, args)
        return func(*args, **tree_map(_raise_tensor, kwargs))


def _raise_tensor(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype in LOW and not isinstance(value, nn.Parameter):
        return torch.ops.aten._to_copy.default(value, dtype=torch.float64)
    return value
