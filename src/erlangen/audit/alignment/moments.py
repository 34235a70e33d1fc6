"""What everything about two networks' units is computed from: their streamed means, covariances and cross-covariance."""

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.stats import CrossMoments, Moments

DEAD = 1e-12


def as_samples(activation: Float[Tensor, "..."]) -> Float[Tensor, "samples units"]:
    """A layer's output as rows: every position of `[batch, channels, ...]` or token of `[batch, tokens, units]` is one."""
    if activation.dim() < 2:
        raise ValueError(f"activation: shape {tuple(activation.shape)}; must be [batch, units, ...]")
    if activation.dim() == 3:
        return activation.flatten(0, 1)
    return activation.flatten(2).transpose(1, 2).flatten(0, 1) if activation.dim() > 3 else activation


class PairMoments:
    """Mergeable first and second moments of the units of two networks over the same samples, in float64.

    `O(d1^2 + d2^2 + d1 d2)` numbers, whatever the number of samples. Both activations of an update must come from the
    same inputs in the same order; rows of unlike number are refused.
    """

    def __init__(self, dim1: int, dim2: int) -> None:
        self.first, self.second, self.cross = Moments(dim1), Moments(dim2), CrossMoments(dim1, dim2)

    @classmethod
    def of(cls, a: Float[Tensor, "..."], b: Float[Tensor, "..."]) -> "PairMoments":
        """The moments of two outputs `[batch, units, ...]`."""
        x, y = as_samples(a), as_samples(b)
        return cls(x.shape[1], y.shape[1]).update(x, y)

    def update(self, a: Float[Tensor, "..."], b: Float[Tensor, "..."]) -> "PairMoments":
        x, y = as_samples(a).cpu(), as_samples(b).cpu()
        if len(x) != len(y):
            raise ValueError(
                f"b: {len(y)} samples for {len(x)} of a; both networks must see the same inputs in the same order"
            )
        self.first.update(x)
        self.second.update(y)
        self.cross.update(x, y)
        return self

    def merge(self, other: "PairMoments") -> "PairMoments":
        self.first.merge(other.first)
        self.second.merge(other.second)
        self.cross.merge(other.cross)
        return self

    @property
    def count(self) -> int:
        return self.cross.count

    @property
    def alive(self) -> tuple[Tensor, Tensor]:
        """Which units of either network vary at all."""
        return _alive(self.first), _alive(self.second)

    def correlation(self) -> Float[Tensor, "units1 units2"]:
        """Correlations between the networks; 0 where a unit is constant."""
        return _scaled(self.cross.scatter, _scale(self.first), _scale(self.second))

    def within(self) -> tuple[Tensor, Tensor]:
        """Correlations inside the first and the second network."""
        one, two = _scale(self.first), _scale(self.second)
        return _scaled(self.first.scatter, one, one), _scaled(self.second.scatter, two, two)

    def swapped(self) -> "PairMoments":
        """The same with the networks exchanged."""
        other = PairMoments(len(self.second.mean), len(self.first.mean))
        other.first, other.second = self.second, self.first
        other.cross.count, other.cross.scatter = self.cross.count, self.cross.scatter.T.clone()
        other.cross.mean1, other.cross.mean2 = self.cross.mean2, self.cross.mean1
        return other

    @property
    def nbytes(self) -> int:
        return self.first.nbytes + self.second.nbytes + self.cross.nbytes


def cross_correlation(a: Float[Tensor, "..."], b: Float[Tensor, "..."]) -> Float[Tensor, "units1 units2"]:
    """Pearson correlation of every unit of one network with every unit of another over the same samples.

    Positions of convolutional outputs count as samples. 0 for units that are constant. `PairMoments` does the same for a
    stream.
    """
    return PairMoments.of(a, b).correlation()


def _alive(moments: Moments) -> Tensor:
    mean_square = moments.mean.square() + moments.scatter.diagonal() / max(moments.count, 1)
    return moments.scatter.diagonal() / max(moments.count, 1) > DEAD * mean_square


def _scale(moments: Moments) -> Tensor:
    return torch.where(_alive(moments), moments.scatter.diagonal().clamp(min=0).sqrt(), torch.inf)


def _scaled(scatter: Tensor, one: Tensor, two: Tensor) -> Tensor:
    return (scatter / one[:, None] / two[None, :]).clamp(-1.0, 1.0)
