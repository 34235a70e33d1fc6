"""Regular features: how the group moves them, how to normalise them, how to make them invariant."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from erlangen._registry import modules
from erlangen.groups import Group, actions
from erlangen.nn.images.filters import plane_group, relative_index


class RegularFields:
    """The action on regular features: (g·f)(x, h) = f(g⁻¹ x, g⁻¹ h), as a function `(g, x) -> x`.

    `x` is `[..., fields * order, height, width]`, the group index fastest. A batch of elements acts elementwise on the
    leading axes of `x`.
    """

    def __init__(self, group: str | Group) -> None:
        self.group = plane_group(group)
        self.image = actions.Image(self.group)
        self.relative = relative_index(self.group)

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        x = self.image(g, x)
        planes = self.relative[self.group.index(g).cpu()].to(x.device)
        split = x.unflatten(-3, (-1, planes.shape[-1]))
        if planes.ndim == 1:
            return split.index_select(-3, planes).flatten(-4, -3)
        shape = planes.shape[:-1] + (1,) * (split.ndim - planes.ndim - 2) + planes.shape[-1:] + (1, 1)
        return split.gather(-3, planes.reshape(shape).expand_as(split)).flatten(-4, -3)

    def __repr__(self) -> str:
        return f"RegularFields({self.group.name})"


def _noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def _pool_cases() -> list[Any]:
    from erlangen.groups.symmetry import Case

    return [
        Case(GroupPool("D4"), (_noise(2, 16, 7, 7),), name="max over D4"),
        Case(GroupPool("C4", reduce="mean"), (_noise(2, 8, 8, 8),), name="mean over C4"),
    ]


def _norm_cases() -> list[Any]:
    from erlangen.groups.symmetry import Case

    return [Case(GroupBatchNorm2d("C4", 3), (_noise(4, 12, 6, 6),), name="C4")]


@modules.register("group_batch_norm2d", cases=_norm_cases)
class GroupBatchNorm2d(nn.Module):
    """Batch normalisation with one mean, variance, scale and shift a field: statistics are shared over the group axis.

    An ordinary batch norm has its own statistics for every plane of a field, and the planes stop being rotated copies.
    The statistics live in an `nn.BatchNorm2d`, so that `nn.SyncBatchNorm.convert_sync_batchnorm` finds them.
    """

    def __init__(self, group: str | Group, fields: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.group = plane_group(group)
        self.fields = fields
        self.norm = nn.BatchNorm2d(fields, eps=eps, momentum=momentum)

    @property
    def symmetries(self) -> list[Any]:
        from erlangen.groups.symmetry import Symmetry

        regular = RegularFields(self.group)
        return [Symmetry(self.group, input=regular, output=regular)]

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        if x.shape[1] != self.fields * int(self.group.order or 1):
            raise ValueError(f"x: got {x.shape[1]} channels, expected {self.fields} fields * order {self.group.order}")
        return self.norm(x.reshape(x.shape[0], self.fields, -1, x.shape[-1])).reshape(x.shape)

    def extra_repr(self) -> str:
        return f"{self.group.name}, fields={self.fields}"


@modules.register("group_pool", cases=_pool_cases)
class GroupPool(nn.Module):
    """Invariant channels from regular ones: the maximum or the mean over the planes of each field.

    `[batch, fields * order, ...] -> [batch, fields, ...]`. On an image the result is a scalar field (it still rotates
    with the input); after a global average it is invariant.
    """

    def __init__(self, group: str | Group, *, reduce: Literal["max", "mean"] = "max") -> None:
        super().__init__()
        if reduce not in ("max", "mean"):
            raise ValueError(f"reduce: got {reduce!r}; allowed are 'max', 'mean'")
        self.group = plane_group(group)
        self.reduce = reduce

    @property
    def symmetries(self) -> list[Any]:
        from erlangen.groups.symmetry import Symmetry

        return [Symmetry(self.group, input=RegularFields(self.group), output="image")]

    def forward(self, x: Float[Tensor, "batch channels *rest"]) -> Float[Tensor, "batch fields *rest"]:
        order = int(self.group.order or 1)
        if x.shape[1] % order:
            raise ValueError(f"x: got {x.shape[1]} channels, not a multiple of the order {order} of {self.group.name}")
        planes = x.unflatten(1, (-1, order))
        return planes.amax(2) if self.reduce == "max" else planes.mean(2)

    def extra_repr(self) -> str:
        return f"{self.group.name}, reduce={self.reduce!r}"
