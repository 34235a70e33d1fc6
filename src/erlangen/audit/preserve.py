"""Look at a model and leave it bit for bit as it was."""

import contextlib
import random
from collections.abc import Iterator

import numpy
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


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


@contextlib.contextmanager
def left_as_it_was(model: nn.Module, *, seed: int) -> Iterator[None]:
    """Run the block with `model` in eval mode and all random state seeded; restore mode, buffers and random state."""
    modes = [(m, m.training) for m in model.modules()]
    buffers = {n: b.detach().clone() for n, b in model.named_buffers() if not is_lazy(b)}
    python_state, numpy_state = random.getstate(), numpy.random.get_state()  # noqa: NPY002
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        model.eval()
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            with torch.no_grad():
                for name, buffer in model.named_buffers():
                    if name in buffers and not torch.equal(buffer, buffers[name]):
                        buffer.copy_(buffers[name])
            random.setstate(python_state)
            numpy.random.set_state(numpy_state)  # noqa: NPY002
