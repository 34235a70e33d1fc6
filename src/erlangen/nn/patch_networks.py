"""One hidden layer over patches, three times: every unit sees all, every unit has its own patch, all units are one."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from erlangen._registry import modules
from erlangen.groups.symmetry import Case, Symmetry


class _PatchNetwork(nn.Module, ABC):
    """What the three share: `k` patches of `d` numbers in, the sum of soft thresholds of k linear forms out.

    The threshold b is one number for all units; it stays as set unless `learn_threshold=True`.
    """

    def __init__(
        self,
        k: int,
        d: int,
        *,
        threshold: float = 0.1,
        learn_threshold: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if k < 1 or d < 1 or not threshold >= 0:
            raise ValueError(f"k, d, threshold: {k}, {d}, {threshold}; at least 1, at least 1, not negative")
        self.k, self.d = k, d
        self.threshold = nn.Parameter(torch.tensor(float(threshold)), requires_grad=learn_threshold)
        shape = self.weight_shape(k, d)
        self.weight = nn.Parameter(torch.randn(shape, generator=generator) / shape[-1] ** 0.5)

    def soft_threshold(self, z: Tensor) -> Tensor:
        """`relu(z - b) - relu(-z - b)`."""
        return (z - self.threshold).relu() - (-z - self.threshold).relu()

    @staticmethod
    @abstractmethod
    def weight_shape(k: int, d: int) -> tuple[int, ...]:
        """The shape of the weights."""

    @abstractmethod
    def forms(self, x: Tensor) -> Tensor:
        """The linear forms, `[..., k]`."""

    def forward(self, x: Float[Tensor, "*batch patches dim"]) -> Float[Tensor, "*batch"]:
        if x.shape[-2:] != (self.k, self.d):
            raise ValueError(f"x: shape {tuple(x.shape)}; [..., {self.k}, {self.d}] is needed")
        return self.soft_threshold(self.forms(x)).sum(-1)

    def extra_repr(self) -> str:
        return f"k={self.k}, d={self.d}, threshold={float(self.threshold):.3g}"


class FullyConnectedDSD(_PatchNetwork):
    """`f(x) = sum_i phi_b(w_i . x)` with k units that see all k d numbers: `[..., k, d] -> [...]`.

    Source: Lahoti et al., Role of Locality and Weight Sharing in Image-Based Tasks, 2024, arXiv:2403.15707.
    """

    @staticmethod
    def weight_shape(k: int, d: int) -> tuple[int, ...]:
        return (k, k * d)

    def forms(self, x: Tensor) -> Tensor:
        return x.flatten(-2) @ self.weight.T


class LocallyConnectedDSD(_PatchNetwork):
    """`f(x) = sum_i phi_b(w_i . x_i)` with one unit for each patch: `[..., k, d] -> [...]`.

    Source: as of `FullyConnectedDSD`, of which it is the block-diagonal case.
    """

    @staticmethod
    def weight_shape(k: int, d: int) -> tuple[int, ...]:
        return (k, d)

    def forms(self, x: Tensor) -> Tensor:
        return (x * self.weight).sum(-1)


class ConvolutionalDSD(_PatchNetwork):
    """`f(x) = sum_i phi_b(w . x_i)` with one filter for all patches: `[..., k, d] -> [...]`, invariant to their order.

    Source: as of `FullyConnectedDSD`; it is `LocallyConnectedDSD` with tied weights.
    """

    @staticmethod
    def weight_shape(k: int, d: int) -> tuple[int, ...]:
        return (d,)

    def forms(self, x: Tensor) -> Tensor:
        return x @ self.weight

    @property
    def symmetries(self) -> list[Symmetry]:
        """Permuting the patches changes nothing."""
        return [Symmetry(f"S({self.k})", input="rows", output="invariant")]


def _cases() -> list[Case]:
    generator = torch.Generator().manual_seed(0)
    return [
        Case(ConvolutionalDSD(k, 5, generator=generator), (torch.randn(6, k, 5, generator=generator),), name=f"k={k}")
        for k in (2, 7)
    ]


modules.register(
    "convolutional_dsd",
    summary="one filter over patches, soft thresholds, summed: invariant to the order of the patches",
    paper="arXiv:2403.15707",
    cases=_cases,
)(ConvolutionalDSD)
