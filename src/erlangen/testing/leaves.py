"""Walk over whatever a model takes or returns: tensors, arrays, numbers, tuples, dicts, dataclasses, graph objects."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def is_graph(value: Any) -> bool:
    """Whether `value` looks like a PyG `Data` or `Batch`."""
    return hasattr(value, "num_nodes") and hasattr(value, "to_dict") and hasattr(value, "keys")


def map_leaves(function: Callable[[Any], Any], value: Any) -> Any:
    """Apply `function` to every tensor and array of a nested value; everything else is kept as it is."""
    if isinstance(value, (Tensor, np.ndarray)):
        return function(value)
    if is_graph(value):
        clone = copy.copy(value)
        for name, item in value.to_dict().items():
            if isinstance(item, (Tensor, np.ndarray)):
                clone[name] = function(item)
        return clone
    if isinstance(value, Mapping):
        items = {k: map_leaves(function, v) for k, v in value.items()}
        try:
            return type(value)(items)  # type: ignore[call-arg]
        except TypeError:
            return items
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_leaves(function, v) for v in value))
    if isinstance(value, (tuple, list)):
        return type(value)(map_leaves(function, v) for v in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        clone = copy.copy(value)
        for f in dataclasses.fields(value):
            object.__setattr__(clone, f.name, map_leaves(function, getattr(value, f.name)))
        return clone
    return value


def all_leaves(value: Any) -> list[Any]:
    """Every tensor and array of a nested value, in order."""
    found: list[Any] = []

    def keep(leaf: Any) -> Any:
        found.append(leaf)
        return leaf

    map_leaves(keep, value)
    return found


def tensors_of(value: Any, path: str = "output") -> list[tuple[str, Tensor]]:
    """Every numeric leaf as `(path, tensor)`. Raises TypeError for a leaf that cannot be compared."""
    if value is None:
        return []
    if isinstance(value, Tensor):
        dense = value.to_dense() if value.layout is not torch.strided else value
        return [(path, dense.detach())]
    if isinstance(value, (np.ndarray, np.generic)):
        if np.asarray(value).dtype.kind not in "fiubc":
            raise TypeError(f"{path}: an array of {np.asarray(value).dtype} cannot be compared; return numbers")
        return [(path, torch.as_tensor(np.asarray(value)))]
    if isinstance(value, (bool, int, float, complex)):
        kind = torch.complex128 if isinstance(value, complex) else torch.float64
        return [(path, torch.tensor(value, dtype=kind))]
    if is_graph(value):
        return [(f"{path}.{k}", v.detach()) for k, v in sorted(value.to_dict().items()) if isinstance(v, Tensor)]
    if isinstance(value, Mapping):
        return [leaf for k, v in value.items() for leaf in tensors_of(v, f"{path}[{k!r}]")]
    if isinstance(value, (tuple, list)):
        return [leaf for i, v in enumerate(value) for leaf in tensors_of(v, f"{path}[{i}]")]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [
            leaf for f in dataclasses.fields(value) for leaf in tensors_of(getattr(value, f.name), f"{path}.{f.name}")
        ]
    if hasattr(value, "todense"):
        return [(path, torch.as_tensor(np.asarray(value.todense())))]
    raise TypeError(f"{path}: a {type(value).__name__} cannot be compared; return tensors, arrays or numbers")


def stacked(value: Any) -> Tensor:
    """All numeric leaves as one float64 vector on the CPU (complex numbers as pairs)."""
    parts = []
    for _, t in tensors_of(value):
        t = torch.view_as_real(t.resolve_conj()) if t.is_complex() else t
        parts.append(t.reshape(-1).to("cpu", torch.float64))
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)


def cast(value: Any, dtype: torch.dtype) -> Any:
    """Every floating leaf in `dtype`; numpy arrays become tensors of the same kind; integers stay."""

    def one(leaf: Any) -> Tensor:
        t = torch.as_tensor(leaf).detach()
        if t.is_complex():
            return t.to(torch.complex128 if dtype == torch.float64 else torch.complex64)
        return t.to(dtype) if t.is_floating_point() else t.clone()

    return map_leaves(one, value)


def cast_tensors(value: Any, dtype: torch.dtype) -> Any:
    """Group elements in `dtype`: floating and complex tensors are cast, index tensors are kept."""
    if isinstance(value, Tensor):
        return cast(value, dtype)
    return map_leaves(lambda leaf: cast(leaf, dtype) if isinstance(leaf, Tensor) else leaf, value)


def fresh(value: Any) -> Any:
    """A deep clone, so that a model that writes into its input harms nobody."""
    return map_leaves(lambda t: t.detach().clone() if isinstance(t, Tensor) else np.array(t, copy=True), value)


def to_numpy(value: Any) -> Any:
    return map_leaves(lambda t: t.detach().cpu().numpy() if isinstance(t, Tensor) else t, value)


def to_tensors(value: Any) -> Any:
    """Numpy arrays and numpy numbers as tensors; other leaves unchanged."""
    if isinstance(value, np.generic):
        return torch.as_tensor(value)
    if hasattr(value, "todense") and not isinstance(value, Tensor):
        return torch.as_tensor(np.asarray(value.todense()))
    return map_leaves(lambda t: t if isinstance(t, Tensor) else torch.as_tensor(t), value)


def to_device(value: Any, device: torch.device) -> Any:
    return map_leaves(lambda t: t.to(device) if isinstance(t, Tensor) else t, value)


def same(left: Any, right: Any) -> bool:
    """Whether all tensors and arrays are equal, NaN with NaN."""
    ours, theirs = all_leaves(left), all_leaves(right)
    if len(ours) != len(theirs):
        return False
    for a, b in zip(ours, theirs, strict=True):
        one, other = torch.as_tensor(a).detach().cpu(), torch.as_tensor(b).detach().cpu()
        if one.layout is not torch.strided:
            one, other = one.to_dense(), other.to_dense()
        if one.shape != other.shape or one.dtype != other.dtype:
            return False
        if not torch.equal(one, other) and not bool(((one == other) | (one.isnan() & other.isnan())).all()):
            return False
    return True


def is_plain(leaf: Any) -> bool:
    """Whether a leaf is a dense floating-point tensor with numbers in it: one that experiments may change."""
    return isinstance(leaf, Tensor) and leaf.layout is torch.strided and leaf.is_floating_point() and leaf.numel() > 0


def has_numpy(value: Any) -> bool:
    return any(isinstance(t, np.ndarray) for t in all_leaves(value))
