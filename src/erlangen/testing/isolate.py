"""Work on a private copy of the model, and leave the model, the random state and the gradients bit for bit alone."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from erlangen.testing.behind import modules_behind, private_copy

__all__ = [
    "Snapshot",
    "fingerprint",
    "functions_in_precision",
    "modules_behind",
    "private_copy",
    "random_state_kept",
    "seed_everything",
    "to_precision",
]


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
    """Seed the generators in use; `torch.manual_seed` would also queue seeds for every absent device, which is slow."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)


class Snapshot:
    """Everything a forward pass may change in the modules behind a callable; `restore` puts it back."""

    def __init__(self, modules: list[nn.Module]) -> None:
        everything = [m for root in modules for m in root.modules()]
        self.modules = [m for m in everything if not isinstance(m, torch.jit.ScriptModule)]
        self.modes = [(m, m.training) for m in everything if isinstance(m, torch.jit.ScriptModule)]
        self.attributes = [
            {k: (v if k in ("_parameters", "_buffers", "_modules") else _shallow(v)) for k, v in vars(m).items()}
            for m in self.modules
        ]
        self.tables = [(dict(m._parameters), dict(m._buffers), dict(m._modules)) for m in self.modules]
        tensors = [t for root in modules for t in [*root.parameters(), *root.buffers()] if t.is_leaf]
        self.values = [(t, t.data, t.detach().clone(), t.grad, t.requires_grad) for t in tensors if not _lazy(t)]
        self.grads = [(t.grad, t.grad.detach().clone()) for t, *_ in self.values if t.grad is not None]

    def restore(self) -> None:
        for scripted, training in self.modes:
            scripted.train(training)
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


def fingerprint(modules: list[nn.Module]) -> list[Any]:
    """Equal before and after a call that leaves nothing behind in the modules' attributes and buffers."""
    found: list[Any] = []
    for root in modules:
        for module in root.modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            for name, value in vars(module).items():
                found.append((name, *_trace(value)))
            found += [(n, b._version, id(b)) for n, b in module._buffers.items() if b is not None]
    return found


def _trace(value: Any) -> tuple[Any, ...]:
    if isinstance(value, (int, float, str, bool)):
        return (value,)
    if isinstance(value, (list, dict, set)):
        return (id(value), len(value))
    return (id(value),)


def to_precision(modules: list[nn.Module], dtype: torch.dtype) -> None:
    """Cast parameters, buffers and plain tensor attributes of (private) modules."""
    pair = {torch.float64: torch.complex128, torch.float32: torch.complex64}.get(dtype, torch.complex64)

    def cast(t: Tensor) -> Tensor:
        return t.to(pair if t.is_complex() else dtype) if t.is_complex() or t.is_floating_point() else t

    for root in modules:
        if isinstance(root, torch.jit.ScriptModule):
            root.to(dtype)
        else:
            root._apply(cast)
        for module in root.modules():
            for name, value in vars(module).items():
                if name.startswith("_") and name in ("_parameters", "_buffers", "_modules"):
                    continue
                if isinstance(value, Tensor):
                    vars(module)[name] = cast(value)


@contextlib.contextmanager
def functions_in_precision(model: Any, dtype: torch.dtype) -> Iterator[None]:
    """The default dtype, so that constants made inside the forward pass follow the precision under test."""
    kept = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(kept)
