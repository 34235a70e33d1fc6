"""Elements that a mistake about sides would use instead of `g`: its inverse, however the user writes elements."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from erlangen.groups.symmetry import Symmetry
from erlangen.testing import leaves

METHODS = ("inv", "inverse")


def inverses(symmetry: Symmetry, g: Any) -> list[Any]:
    """The inverse of `g` where the group knows it; for a user's own elements whatever can be meant by it."""
    if not symmetry.is_user_written:
        with contextlib.suppress(Exception):
            return [leaves.cast_tensors(symmetry.group.inverse(g), torch.float64)]
        return []
    found = _of_user(g)
    return [] if found is None else [found]


def _of_user(g: Any) -> Any:
    if isinstance(g, bool) or g is None:
        return None
    if isinstance(g, (int, float)):
        return -g
    if isinstance(g, (Tensor, np.ndarray)):
        return _of_array(g)
    if isinstance(g, tuple) and hasattr(g, "_fields"):
        return type(g)(*(_or_same(v) for v in g))
    if isinstance(g, (tuple, list)):
        return type(g)(_or_same(v) for v in g)
    if isinstance(g, dict):
        return {k: _or_same(v) for k, v in g.items()}
    for name in METHODS:
        method = getattr(g, name, None)
        if callable(method):
            with contextlib.suppress(Exception):
                return method()
    return None


def _or_same(value: Any) -> Any:
    found = _of_user(value)
    return value if found is None else found


def _of_array(g: Any) -> Any:
    if g.ndim == 2 and g.shape[0] == g.shape[1]:
        inverse = torch.linalg.inv(torch.as_tensor(g, dtype=torch.float64))
        return inverse.numpy().astype(g.dtype) if isinstance(g, np.ndarray) else inverse.to(g.dtype)
    if g.ndim == 1 and len(g):
        values = torch.as_tensor(g)
        if not values.is_floating_point() and sorted(values.tolist()) == list(range(len(values))):
            order = torch.argsort(values)
            return order.numpy() if isinstance(g, np.ndarray) else order
    return -g
