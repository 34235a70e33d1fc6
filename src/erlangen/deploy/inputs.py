"""What an index lets in: finite matrices, binary codes, distinct ids; anything else is an error by name."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def as_matrix(values: Any, argument: str) -> Float[Tensor, "rows dim"]:
    """A finite float32 matrix from a tensor, array or nested list."""
    matrix = _real_matrix(values, argument).to(torch.float32)
    finite = torch.isfinite(matrix).all(1)
    if not bool(finite.all()):
        raise ValueError(f"{argument}: row {int((~finite).nonzero()[0])} holds NaN or infinity")
    return matrix


def as_codes(values: Any, argument: str) -> Bool[Tensor, "rows bits"]:
    """A matrix of bits from booleans, zeros and ones, or signs -1 and +1 (not a mixture)."""
    if isinstance(values, Tensor | np.ndarray) and values.dtype in (torch.bool, np.dtype(bool)):
        matrix = torch.as_tensor(values)
        if matrix.ndim != 2 or matrix.shape[1] == 0:
            raise ValueError(f"{argument}: expected shape [rows, bits], got {tuple(matrix.shape)}")
        return matrix
    matrix = _real_matrix(values, argument)
    high, zero, low = matrix == 1, matrix == 0, matrix == -1
    stray = ~(high | zero | low)
    if not bool(stray.any()) and bool(zero.any()) and bool(low.any()):
        stray = low if bool(zero[0].any()) else zero  # the kind that came second
    if bool(stray.any()):
        row = int(stray.any(1).nonzero()[0])
        raise ValueError(f"{argument}: row {row} is not a code (0/1 or -1/+1, not both); for the signs give values > 0")
    return high


def unit_rows(matrix: Float[Tensor, "rows dim"], argument: str) -> Float[Tensor, "rows dim"]:
    """Rows of length one; a zero row is an error, since it has no direction."""
    if len(matrix) == 0:
        return matrix
    largest = matrix.abs().amax(1, keepdim=True)  # first to unit size, so that squares neither overflow nor vanish
    if not bool((largest > 0).all()):
        row = int((largest[:, 0] == 0).nonzero()[0])
        raise ValueError(
            f"{argument}: row {row} is zero and has no direction; use metric='ip' or 'l2', or leave it out"
        )
    scaled = matrix / largest
    return scaled / torch.linalg.vector_norm(scaled, dim=1, keepdim=True, dtype=torch.float64).to(torch.float32)


def as_ids(ids: Any, count: int, start: int = 0) -> Int64[Tensor, " count"]:
    """Distinct whole numbers from 0 on; None numbers from `start`."""
    if ids is None:
        return torch.arange(start, start + count)
    numbers = whole_numbers(ids, "ids").clone()
    if numbers.shape != (count,):
        raise ValueError(f"ids: shape {tuple(numbers.shape)} for {count} vectors")
    if count and (int(numbers.min()) < 0 or len(torch.unique(numbers)) != count):
        raise ValueError("ids: must be distinct and not negative (-1 marks an empty place in a result)")
    return numbers


def whole_numbers(values: Any, argument: str) -> Tensor:
    """An int64 tensor; fractions and booleans are not ids."""
    try:
        numbers = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise TypeError(f"{argument}: expected whole numbers, got {type(values).__name__}") from None
    empty = numbers.numel() == 0
    if (numbers.is_floating_point() and not empty) or numbers.dtype == torch.bool or numbers.is_complex():
        raise TypeError(f"{argument}: expected whole numbers, got {numbers.dtype}")
    return numbers.to(torch.int64)


def positive(value: Any, argument: str, largest: int | None = None) -> int:
    """A whole number from 1 to `largest`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{argument}: must be a whole number of at least 1, got {value!r}")
    if largest is not None and value > largest:
        raise ValueError(f"{argument}: must be between 1 and {largest}, got {value}")
    return value


def _real_matrix(values: Any, argument: str) -> Tensor:
    if not isinstance(values, Tensor | np.ndarray):
        try:
            values = torch.tensor(values, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"{argument}: expected a matrix of numbers, got {type(values).__name__}") from None
    try:
        matrix = torch.as_tensor(values).detach()
    except TypeError:
        raise TypeError(f"{argument}: expected real numbers, got an array of {values.dtype}") from None
    if matrix.is_complex() or matrix.dtype == torch.bool:
        raise TypeError(f"{argument}: expected real numbers, got {matrix.dtype}")
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise ValueError(f"{argument}: expected shape [rows, dim], got {tuple(matrix.shape)}")
    return matrix
