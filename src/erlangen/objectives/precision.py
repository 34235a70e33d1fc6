"""Losses in at least single precision, whatever the network around them computes in."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])


def _raised(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point() and value.dtype.itemsize < 4:
        return value.float()
    return tuple(_raised(part) for part in value) if isinstance(value, tuple) else value


def at_least_single(function: F) -> F:
    """Half-precision tensors enter `function` as float32, and autocast does not lower what it computes.

    A sum of n terms in bfloat16 has an error of the order n / 256 of a term, and exp, log and differences of nearly
    equal numbers lose more; the products of a network may be rounded so, the statistics of its loss may not.
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        device = next((a.device.type for a in args if isinstance(a, Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            return function(*map(_raised, args), **{name: _raised(value) for name, value in kwargs.items()})

    return wrapped  # type: ignore[return-value]
