"""Leave out one kind of operation, wherever it is called, to see whether it is the one that breaks a symmetry."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from erlangen.testing.runner import Runner

NORMALISATIONS = (
    "native_layer_norm",
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "native_group_norm",
    "_fused_rms_norm",
)
ACTIVATIONS = (
    "relu",
    "silu",
    "gelu",
    "tanh",
    "sigmoid",
    "elu",
    "softplus",
    "mish",
    "hardtanh",
    "leaky_relu",
    "hardswish",
    "_softmax",
    "threshold",
    "clamp",
    "clamp_min",
    "_prelu_kernel",
    "sin",
    "cos",
)


class Without(TorchDispatchMode):
    """Every operation of these names returns its first argument."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names
        self.met = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and torch would import its compiler, which takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.split(".")[0]
        if name.rstrip("_") not in self.names and name not in self.names:
            return func(*args, **(kwargs or {}))
        self.met += 1
        if name in NORMALISATIONS:
            out = func(*args, **(kwargs or {}))
            return (args[0].clone(), *out[1:]) if isinstance(out, tuple) else args[0].clone()
        return args[0] if name.endswith("_") else args[0].clone()


class Record(TorchDispatchMode):
    """The names of the operations that a run calls."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.__name__.split(".")[0].rstrip("_") or func.__name__)
        return func(*args, **(kwargs or {}))


def operations(runner: Runner, base: Any, seed: int) -> set[str]:
    """The names of the operations that the model calls; empty where it cannot be watched."""
    watch = Record()
    try:
        with watch:
            runner(base, seed=seed, of_one=False)
    except Exception:
        return set()
    return watch.names


def circular_padding(runner: Runner) -> str | None:
    """Make every padding of a convolution wrap around; the name of the first that did not, None where all did."""
    first = None
    for root in runner.modules:
        for name, module in root.named_modules():
            if pads(module):
                first = first or (name or type(module).__name__)
                _wrap(module)
    return first


def pads(module: Any) -> bool:
    """Whether a layer pads with anything but its own other side."""
    if "Transpose" in type(module).__name__:  # has no circular padding
        return False
    mode = getattr(module, "padding_mode", "circular")
    padding = getattr(module, "padding", 0)
    amounts = padding if isinstance(padding, (tuple, list)) else (padding,)
    return mode != "circular" and any(p not in (0, "valid") for p in amounts) and hasattr(module, "kernel_size")


def _wrap(module: Any) -> None:
    module.padding_mode = "circular"
    if not getattr(module, "_reversed_padding_repeated_twice", None):
        amounts = module.padding if isinstance(module.padding, (tuple, list)) else (module.padding,)
        module._reversed_padding_repeated_twice = [p for p in reversed(amounts) for _ in range(2)]


def symmetric_filters(runner: Runner) -> bool:
    """Average every filter of the plane over the quarter turns and flips; False where there is none beyond 1x1."""
    changed = False
    with torch.no_grad():
        for root in runner.modules:
            for module in root.modules():
                weight = module._parameters.get("weight")
                if weight is None or weight.dim() != 4 or weight.shape[-1] != weight.shape[-2] or weight.shape[-1] < 2:
                    continue
                turns = [torch.rot90(weight, k, (-2, -1)) for k in range(4)]
                weight.copy_(torch.stack([*turns, *(t.flip(-1) for t in turns)]).mean(0))
                changed = True
    return changed


def no_biases(runner: Runner) -> bool:
    """Set every additive constant to zero; False where there is none."""
    changed = False
    with torch.no_grad():
        for root in runner.modules:
            for module in root.modules():
                for name, parameter in module._parameters.items():
                    if parameter is not None and "bias" in name and bool(parameter.any()):
                        parameter.zero_()
                        changed = True
    return changed


def without_cap(runner: Runner, count: int) -> bool:
    """Raise every limit on the number of neighbours to `count`; False where there is none."""
    changed = False
    for root in runner.modules:
        for module in root.modules():
            for name, value in list(vars(module).items()):
                if type(value) is int and "neighbo" in name and ("max" in name or "num" in name) and value < count:
                    setattr(module, name, count)
                    changed = True
    return changed


def without_dropout(runner: Runner) -> bool:
    """Put every dropout in evaluation mode; False where none was in training mode."""
    changed = False
    for root in runner.modules:
        for module in root.modules():
            if "Drop" in type(module).__name__ and module.training:
                module.eval()
                changed = True
    return changed


def evaluating(runner: Runner) -> bool:
    """Evaluation mode throughout; False where it is already."""
    training = any(m.training for root in runner.modules for m in root.modules())
    for root in runner.modules:
        root.eval()
    return training


def rounded_constants(runner: Runner) -> bool:
    """Round parameters and buffers to float16's precision; False where there is none."""
    changed = False
    with torch.no_grad():
        for root in runner.modules:
            for tensor in [*root.parameters(), *root.buffers()]:
                if tensor.is_floating_point() and tensor.numel():
                    _round(tensor)
                    changed = True
    return changed


def _round(tensor: torch.Tensor) -> None:
    mantissa, exponent = torch.frexp(tensor)
    tensor.copy_(torch.ldexp(torch.round(mantissa * 2**14) / 2**14, exponent))
