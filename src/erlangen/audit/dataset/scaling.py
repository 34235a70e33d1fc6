"""How a test loss falls with the number of training samples, and what the dimension of the data predicts for it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.stats import t as student


@dataclass(frozen=True)
class ScalingLaw:
    """The fit `ln L = offset - rate ln N (+ ln K_F)`, the interval of its rate, and the rates `1/d` to compare with.

    `predicted` is the mean of `1/d` over the data sets, `coefficient` the least-squares factor between the measured
    `ln L` differences and those of `-(1/d) ln N` (1 where the law holds as it stands; NaN without dimensions).
    """

    rate: float
    low: float
    high: float
    level: float
    offset: float
    r_squared: float
    predicted: float = math.nan
    coefficient: float = math.nan
    n: int = 0

    def __call__(self, size: float | int, *, sharpness: float = 1.0) -> float:
        """The loss that the fit gives at a number of samples."""
        if not size > 0 or not sharpness > 0:
            raise ValueError(f"size, sharpness: {size}, {sharpness}; both must be positive")
        return math.exp(self.offset - self.rate * math.log(size)) * sharpness

    def needed(self, loss: float, *, sharpness: float = 1.0) -> float:
        """How many samples the fit needs for a loss; infinite where it does not fall."""
        if not loss > 0:
            raise ValueError(f"loss: {loss}; it must be positive")
        return math.exp((self.offset + math.log(sharpness / loss)) / self.rate) if self.rate > 0 else math.inf


def scaling_law(
    losses: Sequence[float | int],
    sizes: Sequence[float | int],
    *,
    dims: Sequence[float | int] | float | int | None = None,
    sharpness: Sequence[float | int] | float | int | None = None,
    level: float = 0.95,
) -> ScalingLaw:
    """Fit `L ~ K_F N^(-rate)` to measured losses by least squares of logarithms, with Student's interval of the rate.

    `dims` and `sharpness` may be one number or one for each loss. The theory is an upper bound, `L = O(K N^(-1/d))`,
    so a faster fall does not contradict it.

    Source: Konz and Mazurowski, "The effect of intrinsic dataset properties on generalization", 2024, arXiv:2401.08865.
    Raises ValueError for fewer than three losses, numbers that are not positive, or sizes that are all equal.
    """
    loss, size = _positive("losses", losses), _positive("sizes", sizes)
    n = len(loss)
    if n < 3 or len(size) != n:
        raise ValueError(f"losses, sizes: {n} and {len(size)}; at least three of each and as many are needed")
    x, y = size.log(), loss.log()
    if sharpness is not None:
        y = y - _expanded("sharpness", sharpness, n).log()
    centred = x - x.mean()
    if float(centred.square().sum()) < 1e-12:
        raise ValueError("sizes: all are equal; a rate needs at least two different ones")
    slope = float((centred @ (y - y.mean())) / (centred @ centred))
    rest = y - y.mean() - slope * centred
    error = math.sqrt(float(rest @ rest) / max(n - 2, 1) / float(centred @ centred))
    half = float(student.ppf(0.5 + level / 2, n - 2)) * error
    total = float((y - y.mean()).square().sum())
    predicted, coefficient = math.nan, math.nan
    if dims is not None:
        d = _expanded("dims", dims, n)
        predicted = float((1 / d).mean())
        regressor = -(x / d) + (x / d).mean()
        if float(regressor @ regressor) > 1e-12:
            coefficient = float(regressor @ (y - y.mean()) / (regressor @ regressor))
    return ScalingLaw(
        -slope,
        -slope - half,
        -slope + half,
        level,
        float(y.mean() - slope * x.mean()),
        1 - float(rest @ rest) / total if total > 0 else 1.0,
        predicted,
        coefficient,
        n,
    )


def _positive(name: str, values: Sequence[float | int]) -> torch.Tensor:
    found = torch.as_tensor(values, dtype=torch.float64)
    if found.dim() != 1 or not bool(((found > 0) & torch.isfinite(found)).all()):
        raise ValueError(f"{name}: must be a list of finite numbers above 0")
    return found


def _expanded(name: str, values: Sequence[float | int] | float | int, n: int) -> torch.Tensor:
    found = _positive(name, [float(values)] * n if isinstance(values, int | float) else values)
    if len(found) != n:
        raise ValueError(f"{name}: {len(found)} for {n} losses; give one number, or one for each")
    return found
