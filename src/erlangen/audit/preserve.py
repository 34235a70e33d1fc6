"""Look at a model and leave it bit for bit as it was."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
)


def fingerprint(model: nn.Module) -> tuple[object, ...]:
    """Everything an audit must not change: parameters, buffers, gradients, mode, hooks and random state."""

    def number(tensor: Tensor | None) -> object:
        if tensor is None or is_lazy(tensor):
            return None
        return hash(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())

    state = [(name, number(p), number(p.grad), p.requires_grad) for name, p in model.named_parameters()]
    state += [(name, number(b), None, False) for name, b in model.named_buffers()]
    modules = [
        (name, m.training, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
        for name, m in model.named_modules()
    ]
    return (*state, *modules, number(torch.get_rng_state()))


class _Snapshot:
    """A module's weights, buffers, gradients, modes and hooks, to be put back."""

    def __init__(self, model: nn.Module) -> None:
        self.modules = [
            (m, m.training, {h: dict(getattr(m, h)) for h in HOOKS if hasattr(m, h)}) for m in model.modules()
        ]
        self.parameters = [
            (p, p.detach().clone(), p._version, p.requires_grad, p.grad, None if p.grad is None else p.grad.clone())
            for p in model.parameters()
            if not is_lazy(p)
        ]
        self.buffers = [(m, name, b, b.detach().clone()) for m in model.modules() for name, b in _buffers(m)]

    def restore(self) -> None:
        with torch.no_grad():
            for module, mode, hooks in self.modules:
                module.training = mode
                for name, before in hooks.items():
                    now = getattr(module, name)
                    for key in [k for k in now if k not in before]:
                        del now[key]
                    now.update({k: v for k, v in before.items() if k not in now})
            for parameter, value, version, requires_grad, grad, grad_value in self.parameters:
                if parameter._version != version or not torch.equal(parameter, value):
                    parameter.data.copy_(value)
                parameter.requires_grad_(requires_grad)
                parameter.grad = grad
                if grad is not None and grad_value is not None and not torch.equal(grad, grad_value):
                    grad.copy_(grad_value)
            for module, name, buffer, value in self.buffers:
                if module._buffers.get(name) is not buffer:
                    module._buffers[name] = buffer
                if not torch.equal(buffer, value):
                    buffer.copy_(value)


def _buffers(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [(name, b) for name, b in module._buffers.items() if b is not None and not is_lazy(b)]


@contextlib.contextmanager
def left_as_it_was(*models: Any, seed: int) -> Iterator[None]:
    """Run the block with the models in eval mode and all random state seeded; then put everything back: weights,
    buffers, gradients, modes, hooks, random state, after an exception too. What is no module is left alone."""
    modules = [m for m in models if isinstance(m, nn.Module)]
    before = [_Snapshot(m) for m in modules]
    python_state, numpy_state = random.getstate(), numpy.random.get_state()  # noqa: NPY002
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    grad_enabled = torch.is_grad_enabled()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        for module in modules:
            module.eval()
        try:
            yield
        finally:
            torch.set_grad_enabled(grad_enabled)
            for snapshot in before:
                snapshot.restore()
            random.setstate(python_state)
            numpy.random.set_state(numpy_state)  # noqa: NPY002
