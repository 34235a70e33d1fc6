"""Even entire functions of the form f(x)/x, by their series near zero: smooth in value and in every derivative."""

import torch
from torch import Tensor


def _ratio(x: Tensor, numerator: Tensor, series: Tensor, near: Tensor) -> Tensor:
    return torch.where(near, series, numerator / torch.where(near, torch.ones_like(x), x))


def _cut(x: Tensor) -> float:
    """Below this the seventh-order series is exact to round-off."""
    return 0.12 if x.dtype == torch.float32 else 8e-3


def sinc(x: Tensor) -> Tensor:
    """sin(x) / x."""
    y = x * x
    series = 1 - y / 6 * (1 - y / 20 * (1 - y / 42))
    return _ratio(x, torch.sin(x), series, x.abs() < _cut(x))


def sinhc(x: Tensor) -> Tensor:
    """sinh(x) / x."""
    y = x * x
    series = 1 + y / 6 * (1 + y / 20 * (1 + y / 42))
    return _ratio(x, torch.sinh(x), series, x.abs() < _cut(x))


def asinhc(x: Tensor) -> Tensor:
    """asinh(x) / x."""
    y = x * x
    series = 1 - y * (1 / 6 - y * (3 / 40 - y * (15 / 336 - y * (105 / 3456 - y * (945 / 42240)))))
    return _ratio(x, torch.asinh(x), series, x.abs() < _cut(x))


def atanhc(x: Tensor) -> Tensor:
    """atanh(x) / x for |x| < 1."""
    y = x * x
    series = 1 + y * (1 / 3 + y * (1 / 5 + y * (1 / 7 + y * (1 / 9 + y / 11))))
    near = x.abs() < _cut(x)
    return _ratio(x, torch.atanh(torch.where(near, torch.zeros_like(x), x)), series, near)


def half_versine(x: Tensor) -> Tensor:
    """(1 - cos x) / x², without cancellation."""
    return sinc(x / 2).square() / 2
