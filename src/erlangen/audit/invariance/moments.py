"""Second moments of features and target, one set an environment: all that linear regression needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class EnvironmentMoments:
    """`E[X X^T]`, `E[X Y]` and `E[Y^2]` in every environment, not centred.

    Attributes:
        xx: `[environments, features, features]`.
        xy: `[environments, features]`.
        yy: `[environments]`.
        samples: how many samples an environment they were estimated from; `None` for the exact ones.
    """

    xx: Tensor
    xy: Tensor
    yy: Tensor
    samples: int | None = None

    def __post_init__(self) -> None:
        environments, features = self.xy.shape
        if self.xx.shape != (environments, features, features) or self.yy.shape != (environments,):
            raise ValueError(
                f"xx, xy, yy: shapes {tuple(self.xx.shape)}, {tuple(self.xy.shape)}, {tuple(self.yy.shape)}; "
                "[environments, features, features], [environments, features] and [environments] are needed"
            )

    def __len__(self) -> int:
        return len(self.yy)

    @property
    def features(self) -> int:
        return int(self.xy.shape[1])

    def __getitem__(self, environments: slice | Tensor) -> EnvironmentMoments:
        """Some of the environments."""
        return EnvironmentMoments(self.xx[environments], self.xy[environments], self.yy[environments], self.samples)

    def select(self, features: Sequence[int]) -> EnvironmentMoments:
        """Some of the features, in this order."""
        index = torch.as_tensor(list(features), dtype=torch.int64, device=self.xy.device)
        return EnvironmentMoments(self.xx[:, index][:, :, index], self.xy[:, index], self.yy, self.samples)

    @staticmethod
    def from_samples(x: Float[Tensor, "envs samples features"], y: Float[Tensor, "envs samples"]) -> EnvironmentMoments:
        """The averages over samples, `[environments, samples, ...]`; every environment has as many.

        Raises:
            ValueError: sizes that do not match, or values that are not finite.
        """
        if x.shape[:2] != y.shape:
            raise ValueError(
                f"y: shape {tuple(y.shape)} for x of shape {tuple(x.shape)}; one target a sample is needed"
            )
        if not bool(torch.isfinite(x).all() and torch.isfinite(y).all()):
            raise ValueError("x, y: contain NaN or infinite values; moments need finite samples")
        count = x.shape[1]
        return EnvironmentMoments(x.mT @ x / count, (x * y[..., None]).mean(1), y.square().mean(1), count)
