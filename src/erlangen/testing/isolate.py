"""Work on a private copy of the model, and leave the model, the random state and the gradients bit for bit alone."""

from __future__ import annotations

import contextlib
import copy
import functools
import random
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore the generators of torch, numpy and python afterwards."""
    kept_torch, kept_numpy, kept_python = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    kept_cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        torch.set_rng_state(kept_torch)
        np.random.set_state(kept_numpy)  # noqa: NPY002
        random.setstate(kept_python)
        if kept_cuda is not None:
            torch.cuda.set_rng_state_all(kept_cuda)


def seed_everything(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)


class Snapshot:
    """Everything a forward pass may change in the modules behind a callable; `restore` puts it back."""

    def __init__(self, modules: list[nn.Module]) -> None:
        self.modules = [m for root in modules for m in root.modules()]
        self.attributes = [
            {k: (v if k in ("_parameters", "_buffers", "_modules") else _shallow(v)) for k, v in vars(m).items()}
            for m in self.modules
        ]
        self.tables = [(dict(m._parameters), dict(m._buffers), dict(m._modules)) for m in self.modules]
        tensors = [t for m in self.modules for t in [*m._parameters.values(), *m._buffers.values()] if t is not None]
        self.values = [(t, t.data, t.detach().clone(), t.grad, t.requires_grad) for t in tensors if not _lazy(t)]
        self.grads = [(t.grad, t.grad.detach().clone()) for t, *_ in self.values if t.grad is not None]

    def restore(self) -> None:
        for module, attributes, tables in zip(self.modules, self.attributes, self.tables, strict=True):
            for name in [k for k in vars(module) if k not in attributes]:
                del vars(module)[name]
            for name, value in attributes.items():
                vars(module)[name] = value if name in ("_parameters", "_buffers", "_modules") else _shallow(value)
            tables_now: tuple[dict[str, Any], ...] = (module._parameters, module._buffers, module._modules)  # type: ignore[assignment]
            for live, kept in zip(tables_now, tables, strict=True):
                live.clear()
                live.update(dict(kept))  # type: ignore[call-overload]
        with torch.no_grad():
            for tensor, storage, value, grad, wants_grad in self.values:
                storage.copy_(value)
                tensor.data = storage
                tensor.grad = grad
                if tensor.is_leaf:
                    tensor.requires_grad_(wants_grad)
            for grad, value in self.grads:
                grad.copy_(value)


def _lazy(tensor: Tensor) -> bool:
    return isinstance(tensor, (nn.parameter.UninitializedParameter, nn.parameter.UninitializedBuffer))


def _shallow(value: Any) -> Any:
    if type(value) in (dict, list, set):
        return value.copy()
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        return value.detach().clone() if not value.requires_grad else value
    return value


def modules_behind(model: Any) -> list[nn.Module]:
    """The modules that a callable uses: itself, its owner, its closure, its globals by name, its partial arguments."""
    if isinstance(model, nn.Module):
        return [model]
    if isinstance(model, functools.partial):
        found = modules_behind(model.func)
        for value in [*model.args, *model.keywords.values()]:
            found += [value] if isinstance(value, nn.Module) else []
        return found
    if isinstance(model, types.MethodType):
        return modules_behind(model.__self__) + (
            [] if isinstance(model.__self__, nn.Module) else _in_function(model.__func__)
        )
    if isinstance(model, types.FunctionType):
        return _in_function(model)
    return [v for v in getattr(model, "__dict__", {}).values() if isinstance(v, nn.Module)]


def _in_function(function: Any) -> list[nn.Module]:
    found = []
    for cell in getattr(function, "__closure__", None) or ():
        with contextlib.suppress(ValueError):
            found += [cell.cell_contents] if isinstance(cell.cell_contents, nn.Module) else []
    code = getattr(function, "__code__", None)
    for name in code.co_names if code else ():
        value = function.__globals__.get(name)
        found += [value] if isinstance(value, nn.Module) else []
    return found


def private_copy(model: Any) -> Any:
    """A copy of the model that shares nothing with it; raises what `copy.deepcopy` raises where none can be made."""
    if isinstance(model, functools.partial):
        func = private_copy(model.func)
        args = [_copied(a) for a in model.args]
        return functools.partial(func, *args, **{k: _copied(v) for k, v in model.keywords.items()})
    if isinstance(model, types.MethodType):
        return types.MethodType(model.__func__, copy.deepcopy(model.__self__))
    if isinstance(model, types.FunctionType):
        return _copy_function(model)
    if isinstance(model, (type, types.BuiltinFunctionType)):
        return model
    return copy.deepcopy(model)


def _copied(value: Any) -> Any:
    return copy.deepcopy(value) if isinstance(value, (nn.Module, Tensor, np.ndarray)) else value


def _copy_function(function: types.FunctionType) -> Callable[..., Any]:
    memo: dict[int, Any] = {}

    def own(value: Any) -> Any:
        return copy.deepcopy(value, memo) if isinstance(value, (nn.Module, Tensor, np.ndarray, list, dict)) else value

    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(types.CellType(own(cell.cell_contents)))
        except ValueError:
            cells.append(cell)
    used = {n: function.__globals__[n] for n in function.__code__.co_names if n in function.__globals__}
    changed = {n: own(v) for n, v in used.items() if isinstance(v, (nn.Module, Tensor, np.ndarray))}
    scope = {**function.__globals__, **changed} if changed else function.__globals__
    clone = types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__, tuple(cells) or None)
    clone.__kwdefaults__ = function.__kwdefaults__
    return clone


def to_precision(modules: list[nn.Module], dtype: torch.dtype) -> None:
    """Cast parameters, buffers and plain tensor attributes of (private) modules."""
    for root in modules:
        root.to(dtype)
        for module in root.modules():
            for name, value in vars(module).items():
                if name.startswith("_") and name in ("_parameters", "_buffers", "_modules"):
                    continue
                if isinstance(value, Tensor) and value.is_floating_point():
                    vars(module)[name] = value.to(dtype)


@contextlib.contextmanager
def functions_in_precision(model: Any, dtype: torch.dtype) -> Iterator[None]:
    """The default dtype, so that constants made inside the forward pass follow the precision under test."""
    kept = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(kept)
