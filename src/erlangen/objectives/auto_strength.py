"""Strengths of several penalties that set themselves from how well each can be met."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

from torch import Tensor


class AutoStrength:
    """One strength for all candidates until an epoch T; then λ_k = λ_0 / (R_k / min_j R_j)^power, once.

    R_k is the smallest residual of candidate k over the last `window` epochs before T: the data let a network come close
    to the symmetries they have, and these keep their strength.

    Args:
        initial: λ_0.
        at_epoch: T.
        power: how sharply the worse candidates are let go.
        final: what takes the place of λ_0 after T; λ_0 unless given.
        window: over how many epochs the minimum is kept.

    Source: H. Kim, H. Lee, H. Yang, J. Lee, "Regularizing Towards Soft Equivariance Under Mixed Symmetries", 2023,
    arXiv:2306.00356. It divides by the smallest residual, which may be 0; such a candidate is marked in `exact` and the
    division is by the smallest positive number instead.
    """

    def __init__(
        self,
        initial: float | int = 1.0,
        *,
        at_epoch: int,
        power: float | int = 2.0,
        window: int = 100,
        final: float | int | None = None,
    ) -> None:
        if not initial >= 0 or not math.isfinite(initial):
            raise ValueError(f"initial: a strength is finite and at least 0, given {initial}")
        if at_epoch < 1 or window < 1:
            raise ValueError(f"at_epoch, window: at least 1, given {at_epoch} and {window}")
        if not power >= 0:
            raise ValueError(f"power: at least 0, given {power}")
        last = initial if final is None else final
        if not last >= 0 or not math.isfinite(last):
            raise ValueError(f"final: a strength is finite and at least 0, given {final}")
        self.final = float(last)
        self.initial, self.at_epoch, self.power, self.window = float(initial), at_epoch, float(power), window
        self.exact: set[str] = set()
        self._weights: dict[str, float] = {}
        self._recent: dict[str, deque[float]] = {}
        self.epoch = 0

    @property
    def is_set(self) -> bool:
        """Whether the strengths have been set."""
        return self.epoch >= self.at_epoch

    def weights(self, names: Mapping[str, object] | None = None) -> dict[str, float]:
        """λ_k by name; `names` gives the candidates before the first `update`."""
        if self._weights:
            return dict(self._weights)
        return dict.fromkeys(names or {}, self.initial)

    def update(self, residuals: Mapping[str, Tensor | float]) -> dict[str, float]:
        """Called once an epoch with the R_k (of `values(normalize=True)`); returns the strengths from now on.

        Raises:
            ValueError: a residual that is negative or not finite.
        """
        now = {name: float(value) for name, value in residuals.items()}
        wrong = {name: value for name, value in now.items() if not (value >= 0 and math.isfinite(value))}
        if wrong:
            raise ValueError(f"residuals: must be finite and at least 0, given {wrong}")
        if not self._weights:
            self._weights = dict.fromkeys(now, self.initial)
        if self.is_set:
            return self.weights()
        for name, value in now.items():
            self._recent.setdefault(name, deque(maxlen=self.window)).append(value)
        self.epoch += 1
        if self.is_set:
            lowest = {name: min(values) for name, values in self._recent.items()}
            self.exact = {name for name, value in lowest.items() if value == 0}
            floor = min((value for value in lowest.values() if value > 0), default=1.0)
            if self.exact:
                floor *= 1e-6
            self._weights = {
                name: self.final / (max(value, floor) / floor) ** self.power for name, value in lowest.items()
            }
        return self.weights()
