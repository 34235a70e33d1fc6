"""All linear maps between permutation tensors that commute with S_n, as one layer for graphs of every size."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from erlangen._registry import modules
from erlangen.groups.permutations import bell, diagrams, set_partitions
from erlangen.groups.permutations.contraction import (
    check_tensor,
    mask_product,
    node_counts,
    place_axes,
    reduce_axes,
    spread_axes,
)
from erlangen.groups.permutations.partitions import labels_of

LARGE = 4


@dataclass(frozen=True)
class Stage:
    """The diagrams that carry p indices: sources (input side), orders of the indices, targets (output side).

    `index[target, order, source]` is the number of the diagram in `diagrams(k_in, k_out)`.
    """

    sources: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]  # labels of the input slots, labels carried
    orders: tuple[tuple[int, ...], ...]
    targets: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]  # labels of the output slots, labels that carry
    index: Tensor


@functools.cache
def stages(k_in: int, k_out: int) -> tuple[Stage, ...]:
    """The maps k_in -> k_out by how many indices they carry: mixing channels there costs n^p instead of n^k_out."""
    number = {(d.pattern_in, d.pattern_out): i for i, d in enumerate(diagrams(k_in, k_out))}
    found = []
    for p in range(min(k_in, k_out) + 1):
        sources, targets = _halves(k_in, p), _halves(k_out, p)
        orders = tuple(itertools.permutations(range(p)))
        index = torch.empty(len(targets), len(orders), len(sources), dtype=torch.int64)
        for (t, (outer, onto)), (o, order), (s, (inner, carried)) in itertools.product(
            enumerate(targets), enumerate(orders), enumerate(sources)
        ):
            rename = {onto[place]: carried[order[place]] for place in range(p)}
            free = max(inner, default=-1) + 1
            whole = [*inner, *(rename[label] if label in rename else free + label for label in outer)]
            canonical = {label: i for i, label in enumerate(dict.fromkeys(whole))}
            named = tuple(canonical[label] for label in whole)
            index[t, o, s] = number[named[:k_in], named[k_in:]]
        found.append(Stage(sources, orders, targets, index))
    return tuple(found)


def _halves(order: int, p: int) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    halves = []
    for partition in set_partitions(order):
        labels = labels_of(partition)
        halves += [(labels, chosen) for chosen in itertools.combinations(range(len(partition)), p)]
    return tuple(halves)


def _cases() -> list[Any]:
    from erlangen.groups.symmetry import Case

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(0))

    shapes = {(1, 1): (5,), (1, 2): (4,), (2, 1): (4, 4), (2, 2): (4, 4)}
    return [
        Case(
            EquivariantLinear(k[0], k[1], 2, 3, normalize=k != (2, 1)), (noise(2, 2, *shape),), name=f"{k[0]} to {k[1]}"
        )
        for k, shape in shapes.items()
    ]


@modules.register("equivariant_linear", cases=_cases)
class EquivariantLinear(nn.Module):
    """The most general linear map (R^n)^⊗k_in -> (R^n)^⊗k_out that commutes with permutations, with channels.

        y_o = Σ_c Σ_π weight[π, o, c] D_π(x_c) + Σ_σ bias[σ, o] D_σ(1)

    over the partitions π of the k_in + k_out slots (in the order of `groups.permutations.diagrams`) and σ of the k_out
    slots: Bell(k_in + k_out) maps and Bell(k_out) biases. 1 -> 1 is DeepSets, 2 -> 2 the fifteen maps of Maron et al.
    With `normalize` sums over nodes are means over the real nodes, so that one parameter vector serves every n (times
    `reference_size` for each sum, so that graphs of that size see sums); without it the published sums are used and
    outputs grow with n.

    `[batch, in_channels, n, ..., n] -> [batch, out_channels, n, ..., n]`; `mask` (bool `[batch, n]`) says which nodes are
    real in a padded batch, the output is zero at the others. Channels are mixed before anything is broadcast: a 2 -> 2
    layer does two products of n² values, not fifteen.

    Raises ValueError for orders whose sum exceeds 6 or one above 4 without `allow_large=True` (the number of maps and
    the memory n^k are in the message), channel counts below 1, and inputs of another shape.

    Sources: Maron, Ben-Hamu, Shamir, Lipman, Invariant and equivariant graph networks, 2019, arXiv:1812.09902; Keriven,
    Peyré, Universal invariant and equivariant graph neural networks, 2019, arXiv:1905.04943. The authors' code builds the
    orbit basis ("exactly these slots are equal"); ours is the diagram basis ("at least these"), which spans the same maps
    and is applied by sums; `groups.permutations.orbit_from_diagram` converts.
    """

    def __init__(
        self,
        k_in: int,
        k_out: int,
        in_channels: int,
        out_channels: int,
        *,
        normalize: bool = True,
        reference_size: float = 1.0,
        bias: bool = True,
        allow_large: bool = False,
    ) -> None:
        super().__init__()
        if min(k_in, k_out) < 0 or min(in_channels, out_channels) < 1:
            raise ValueError(
                "k_in, k_out, in_channels, out_channels: at least 0, 0, 1, 1, given "
                f"{k_in}, {k_out}, {in_channels}, {out_channels}"
            )
        if not allow_large and (max(k_in, k_out) > LARGE or k_in + k_out > LARGE + 2):
            size = 8 * in_channels * 30 ** max(k_in, k_out) / 2**30
            raise ValueError(
                f"k_in, k_out: {k_in} -> {k_out} has Bell({k_in + k_out}) maps a pair of channels and needs about "
                f"{size:.3g} GiB a graph of 30 nodes; orders up to {LARGE} with a sum up to {LARGE + 2} are plain, more "
                "need allow_large=True"
            )
        if reference_size <= 0:
            raise ValueError(f"reference_size: must be positive, given {reference_size}")
        self.k_in, self.k_out, self.normalize, self.reference_size = k_in, k_out, normalize, float(reference_size)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.weight = nn.Parameter(torch.empty(bell(k_in + k_out), out_channels, in_channels))
        self.bias = nn.Parameter(torch.empty(bell(k_out), out_channels)) if bias else None
        for p, stage in enumerate(stages(k_in, k_out)):
            self.register_buffer(f"index{p}", stage.index, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal weights of variance 1 / (in_channels · number of maps), biases zero."""
        nn.init.normal_(self.weight, std=(self.in_channels * len(self.weight)) ** -0.5)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    @property
    def symmetries(self) -> list[Any]:
        """Renaming the nodes of the input renames those of the output; nothing is promised where there is no node axis."""
        from erlangen.groups import Symmetric
        from erlangen.groups.actions.permute import Permute
        from erlangen.groups.symmetry import Symmetry

        def action(order: int) -> Any:
            return Permute(Symmetric(None), axes=tuple(range(-order, 0))) if order else "invariant"

        return [Symmetry("S(n)", input=action(self.k_in), output=action(self.k_out))] if self.k_in else []

    def forward(self, x: Tensor, mask: Bool[Tensor, "batch n"] | None = None, *, n: int | None = None) -> Tensor:
        if x.ndim != self.k_in + 2 or x.shape[1] != self.in_channels:
            axes = ", ".join(["batch", str(self.in_channels), *["n"] * self.k_in])
            raise ValueError(f"x: expected [{axes}], given {tuple(x.shape)}")
        size = check_tensor(x, self.k_in, mask, n) if max(self.k_in, self.k_out) else 0
        if mask is not None and self.k_in:
            x = x * mask_product(mask, 2, self.k_in, x.dtype)
        sums: dict[tuple[int, ...], Tensor] = {}  # labels of the output slots -> values on their distinct labels
        for p, stage in enumerate(stages(self.k_in, self.k_out)):
            mixed = self._mix(x, stage, p, size, mask)
            for (outer, onto), value in zip(stage.targets, mixed.unbind(1), strict=True):
                value = spread_axes(value, onto, tuple(dict.fromkeys(outer)))
                sums[outer] = sums[outer] + value if outer in sums else value
        if self.bias is not None:
            for number, partition in enumerate(set_partitions(self.k_out)):
                outer = labels_of(partition)
                value = self.bias[number].reshape(1, -1, *[1] * len(partition))
                sums[outer] = sums[outer] + value if outer in sums else value
        out: Tensor | None = None
        for outer, value in sums.items():
            distinct = tuple(dict.fromkeys(outer))
            value = value.expand([len(x), self.out_channels, *[size] * len(distinct)])
            value = place_axes(value, distinct, outer)
            out = value if out is None else out + value
        assert out is not None
        return out if mask is None or self.k_out == 0 else out * mask_product(mask, 2, self.k_out, x.dtype)

    def _mix(self, x: Tensor, stage: Stage, p: int, size: int, mask: Tensor | None) -> Tensor:
        """Reduce to p indices, mix channels for all targets at once: `[batch, targets, out_channels, n, ..., n]`."""
        reduced = []
        for inner, carried in stage.sources:
            y = reduce_axes(x, inner, carried)
            averaged = len(set(inner)) - p
            if self.normalize and averaged:
                y = y * (self.reference_size / node_counts(size, mask, 2, p, x)) ** averaged
            reduced.append(y)
        together = torch.cat(reduced, 1) if len(reduced) > 1 else reduced[0]
        index: Tensor = getattr(self, f"index{p}")
        weight = self.weight[index]  # [targets, orders, sources, out, in]
        weight = weight.permute(0, 1, 3, 2, 4).reshape(-1, together.shape[1])
        flat = (weight @ together.flatten(2)) if p else (together @ weight.T)
        mixed = flat.reshape(len(x), len(stage.targets), len(stage.orders), self.out_channels, *[size] * p)
        total = mixed[:, :, 0]
        for number, order in enumerate(stage.orders[1:], start=1):
            # axis `place` of the target reads axis order[place] of the source
            total = total + mixed[:, :, number].permute(0, 1, 2, *(3 + axis for axis in order))
        return total

    def extra_repr(self) -> str:
        return (
            f"{self.k_in} -> {self.k_out}, {self.in_channels} -> {self.out_channels} channels, "
            f"normalize={self.normalize}, bias={self.bias is not None}"
        )
