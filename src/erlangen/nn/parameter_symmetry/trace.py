"""Runs a model once and follows, through every operation, which unit each number belongs to."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from erlangen.nn.parameter_symmetry.labels import Labels, collapse, spread
from erlangen.nn.parameter_symmetry.union import DisjointSets

Axis = tuple[str, int]
WRITES, READS, THROUGH = "writes", "reads", "through"


class Trace:
    """What one run of a model told about its parameters.

    Every index of every parameter axis is an element of `units`: two of them end in one set when they must be permuted
    together. `scales` does the same for factors: what an axis writes, and what it reads, may be rescaled together.
    """

    def __init__(self, model: nn.Module) -> None:
        self.units, self.scales = DisjointSets(), DisjointSets()
        self.ids: dict[Axis, np.ndarray] = {}
        self.scale_ids: dict[tuple[str, int, str], np.ndarray] = {}
        self.roles: dict[Axis, set[str]] = {}
        self.fixed: list[tuple[np.ndarray, str]] = []
        self.mixed: list[tuple[np.ndarray, str]] = []
        self.unsliceable: list[tuple[np.ndarray, str]] = []
        self.names: dict[int, str] = {}
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            self.names.setdefault(id(tensor), name)
        self._labels: dict[int, tuple[Tensor, Labels]] = {}
        self._kept: list[Tensor] = []

    # what belongs to a parameter

    def is_named(self, tensor: Any) -> bool:
        return isinstance(tensor, Tensor) and id(tensor) in self.names and tensor.dim() > 0 and tensor.numel() > 1

    def unit_ids(self, parameter: Tensor, axis: int, role: str) -> Tensor:
        """The elements of `units` for an axis, made at its first use and the same ever after (tied weights)."""
        key = (self.names[id(parameter)], axis % parameter.dim())
        if key not in self.ids:
            self.ids[key] = self.units.add(parameter.shape[axis])
            self.roles[key] = set()
        self.roles[key].add(role)
        return torch.from_numpy(self.ids[key])

    def scale_of(self, parameter: Tensor, axis: int, role: str) -> Tensor:
        key = (self.names[id(parameter)], axis % parameter.dim(), role)
        if key not in self.scale_ids:
            self.scale_ids[key] = self.scales.add(parameter.shape[axis])
        return torch.from_numpy(self.scale_ids[key])

    def written(self, parameter: Tensor, axis: int, shape: torch.Size, at: int) -> Labels:
        """Labels of a tensor of `shape` whose axis `at` is written by an axis of a parameter."""
        return Labels(
            spread(self.unit_ids(parameter, axis, WRITES), shape, at),
            spread(self.scale_of(parameter, axis, WRITES), shape, at),
        )

    # what belongs to an activation

    def get(self, tensor: Any) -> Labels | None:
        held = self._labels.get(id(tensor))
        return None if held is None else held[1]

    def put(self, tensor: Tensor, labels: Labels | None) -> None:
        self._kept.append(tensor)  # an id is only told once while its tensor lives
        if labels is None:
            self._labels.pop(id(tensor), None)
        else:
            self._labels[id(tensor)] = (tensor, labels)

    def operand(self, tensor: Any) -> Labels | None:
        """Labels of an activation, or of a parameter by its widest guess: its only long axis, else its last."""
        labels = self.get(tensor)
        if labels is None and self.is_named(tensor) and tensor.is_floating_point():
            long = [d for d in range(tensor.dim()) if tensor.shape[d] > 1]
            axis = long[0] if len(long) == 1 else tensor.dim() - 1
            unit = spread(self.unit_ids(tensor, axis, THROUGH), tensor.shape, axis)
            return Labels(unit, spread(self.scale_of(tensor, axis, WRITES), tensor.shape, axis))
        return labels

    # what is learned about sets

    def join(self, a: Tensor, b: Tensor) -> None:
        self.units.join(*collapse(*torch.broadcast_tensors(a, b)))

    def join_scales(self, a: Tensor, b: Tensor) -> None:
        self.scales.join(*collapse(*torch.broadcast_tensors(a, b)))

    def unit_of(self, labels: Tensor) -> Tensor:
        """The labels with equal units made equal."""
        return torch.from_numpy(self.units.find(labels.numpy()))

    def fix(self, labels: Labels | Tensor, reason: str) -> None:
        """These units stay as they are."""
        unit = np.unique(collapse(labels.unit if isinstance(labels, Labels) else labels)[0])
        self.fixed.append((unit[unit > 0], reason))
        if isinstance(labels, Labels):
            self.no_scale(labels)

    def no_scale(self, labels: Labels) -> Labels:
        """These must not be rescaled; returns the labels of what follows."""
        self.scales.fix(collapse(labels.scale)[0].ravel())
        return Labels(labels.unit, torch.zeros((), dtype=torch.int64).expand(labels.shape))

    def mix(self, labels: Labels, reason: str) -> Labels:
        """These units act on one another: they may change places, but not be merged."""
        unit = np.unique(collapse(labels.unit)[0])
        self.mixed.append((unit[unit > 0], reason))
        return self.no_scale(labels)

    def fix_parameter(self, parameter: Tensor, reason: str) -> None:
        for axis in range(parameter.dim()):
            self.fix(self.unit_ids(parameter, axis, THROUGH), reason)

    def give_up(self, name: str, inputs: list[Tensor]) -> None:
        """An operation without a rule: everything that goes into it is fixed."""
        for tensor in inputs:
            labels = self.get(tensor)
            if labels is not None:
                self.fix(labels, name)
            elif self.is_named(tensor):
                self.fix_parameter(tensor, name)


class Recorder(TorchFunctionMode):
    """Hands every operation of torch that runs under it to the rules."""

    def __init__(self, trace: Trace, rules: dict[str, Callable[..., None]]) -> None:
        super().__init__()
        self.trace, self.rules = trace, rules

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self._record(func, args, kwargs, out)
        return out

    def _record(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        trace, name = self.trace, plain_name(func)
        inputs = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        outputs = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        known = any(trace.get(t) is not None or trace.is_named(t) for t in inputs)
        if not known or (not outputs and name != "setitem"):
            return
        rule = self.rules.get(name)
        if rule is None:
            trace.give_up(f"no rule for the operation {name!r}", inputs)
            return
        try:
            rule(trace, func, args, kwargs, out)
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as error:
            trace.give_up(f"the rule for {name!r} does not cover this use ({type(error).__name__})", inputs)


def plain_name(func: Any) -> str:
    """`add` for `add`, `add_`, `__add__`, `__iadd__` and `__radd__`; the attribute's name for a getter."""
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return f".{getattr(func.__self__, '__name__', '')}"
    if name.startswith("__") and name.endswith("__"):
        name = name[2:-2]
        for prefix in ("i", "r"):
            if name[1:] in ARITHMETIC and name.startswith(prefix):
                return name[1:]
        return name
    return name.rstrip("_").removeprefix("_")


ARITHMETIC = {"add", "sub", "mul", "truediv", "matmul", "pow"}
