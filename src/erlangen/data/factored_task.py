"""Conditions between a cube and one-hot vectors, with binary targets from single bits to parities."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


class FactoredTask:
    """All combinations of some bits as inputs of a chosen geometry, and dichotomies of them as targets.

    Condition c with bits `s_c` in {-1, 1} is embedded as `sqrt(1 - separation) s_c / sqrt(bits)` in `bits` orthogonal
    directions and `sqrt(separation)` in a direction of its own, then rotated at random into `dim` dimensions: a cube at
    0, one-hot vectors (all conditions equally far apart) at 1.

    Arguments:
        bits: the number of bits; there are `2**bits` conditions.
        separation: 0 to 1.
        targets: each a set of bits whose parity it is: `(0,)` is the first bit, `(0, 1)` the XOR of two.
        dim: of the inputs, at least `bits + 2**bits`.
        noise: standard deviation of isotropic noise on each input coordinate.

    Raises ValueError for sizes that do not fit and targets that name other bits.

    Source: Alleman, Lindsey and Fusi, "Task structure and nonlinearity jointly determine learned representational
    geometry", 2024, arXiv:2401.13558.
    """

    def __init__(
        self,
        bits: int = 3,
        separation: float = 0.0,
        *,
        targets: Sequence[Sequence[int]] = ((0, 1),),
        dim: int = 30,
        noise: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        if bits < 1 or dim < bits + 2**bits:
            raise ValueError(f"bits, dim: {bits} and {dim}; dim must be at least bits + 2**bits = {bits + 2**bits}")
        if not 0 <= separation <= 1:
            raise ValueError(f"separation: {separation}; must be between 0 (cube) and 1 (one-hot)")
        if noise < 0:
            raise ValueError(f"noise: {noise}; must not be negative")
        for target in targets:
            if not target or not all(0 <= bit < bits for bit in target) or len(set(target)) != len(target):
                raise ValueError(f"targets: {tuple(target)}; each must name different bits of 0 to {bits - 1}")
        self.noise = noise
        self.bits: Float[Tensor, "conditions bits"] = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=bits)))
        cube = (1 - separation) ** 0.5 * self.bits / bits**0.5
        own = separation**0.5 * torch.eye(len(self.bits))
        rotation = torch.linalg.qr(torch.randn(dim, dim, generator=generator)).Q
        self.means: Float[Tensor, "conditions dim"] = torch.cat([cube, own], 1) @ rotation[: bits + len(self.bits)]
        parities = [self.bits[:, list(target)].prod(1) for target in targets]
        self.targets: Float[Tensor, "conditions targets"] = torch.stack(parities, 1) if parities else self.bits[:, :0]

    @property
    def num_conditions(self) -> int:
        return len(self.means)

    def sample(
        self, count: int, *, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "rows dim"], Float[Tensor, "rows targets"], Int[Tensor, " rows"]]:
        """Inputs with noise, targets in {-1, 1}, and the condition of each row; conditions come up equally often."""
        condition = torch.arange(count) % self.num_conditions
        condition = condition[torch.randperm(count, generator=generator)]
        noise = self.noise * torch.randn(count, self.means.shape[1], generator=generator)
        return self.means[condition] + noise, self.targets[condition], condition

    def __repr__(self) -> str:
        return f"FactoredTask({self.bits.shape[1]} bits, {self.targets.shape[1]} targets, dim={self.means.shape[1]})"
