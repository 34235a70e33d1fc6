"""Group elements as vectors of numbers, for networks that are told how a view was moved."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.groups import rotations
from erlangen.groups.base import Group
from erlangen.groups.irreps import irreps
from erlangen.groups.orthogonal import SO, O

Code = Literal["irreps", "matrix", "quat"]


class GroupCode:
    """`g -> [batch, dim]` for the elements of a group.

    "irreps": the entries of the matrices of all irreducible representations up to `degree` (of all, for a finite group):
    35 numbers for SO(3) at degree 2, D0 + D1 + D2. "matrix": the entries of the group's own matrix. Both are
    single-valued and linear maps of them can be any equivariant prediction of such degree. "quat", SO(3) alone: the unit
    quaternion (w, x, y, z) of which w >= 0 (where w = 0, the first other number that is not). A rotation has two
    quaternions, q and -q; a predictor that is linear in a quaternion of arbitrary sign, as in the released code of SIE,
    is asked for opposite predictions of one thing.

    Rotations may also come as quaternions (w, x, y, z), `[batch, 4]`.

    Raises:
        ValueError: "quat" for another group, elements that are not of the group, quaternions of another length than 1.
    """

    def __init__(self, group: Group[Any], kind: Code = "irreps", *, degree: int = 2) -> None:
        if kind not in ("irreps", "matrix", "quat"):
            raise ValueError(f"code: {kind!r}; allowed: 'irreps', 'matrix', 'quat'")
        self.spatial = isinstance(group, SO) and not isinstance(group, O) and group.n == 3
        if kind == "quat" and not self.spatial:
            raise ValueError(f"code: 'quat' is for SO(3), not {group}; use 'irreps' or 'matrix'")
        self.group, self.kind = group, kind
        self._entries = self._reader(degree)
        drawn = self(group.sample((256,), generator=torch.Generator().manual_seed(0)))
        self.dim = drawn.shape[1]
        self.scale = float(drawn.double().square().mean().sqrt())

    def _reader(self, degree: int) -> Callable[[Any], Tensor]:
        if self.kind == "quat":
            return lambda g: canonical_quaternion(rotations.to_quaternion(g))
        if self.kind == "matrix":
            return lambda g: self.group.matrix(g, torch.float32).flatten(1)
        if self.group.dim > 0 and degree < 1:
            raise ValueError(f"degree: {degree}; at least 1, else the code says nothing")
        parts = list(irreps(self.group, None if self.group.dim == 0 else degree))
        return lambda g: torch.cat([part.matrix(g, torch.float32).flatten(1) for part in parts], 1)

    def __call__(self, g: Any) -> Float[Tensor, "batch dim"]:
        """The codes of elements with one batch dimension, float32, under autocast too."""
        device = next(
            (part.device.type for part in (g if isinstance(g, tuple) else (g,)) if isinstance(part, Tensor)), "cpu"
        )
        with torch.autocast(device, enabled=False):
            return self._coded(g)

    def _coded(self, g: Any) -> Tensor:
        if self.spatial and isinstance(g, Tensor) and g.ndim == 2 and g.shape[1] == 4:
            g = _matrix_of_unit(g)
        if len(self.group.batch_shape(g)) != 1:
            raise ValueError(f"g: batch shape {self.group.batch_shape(g)}; one element of {self.group} for each sample")
        inside = self.group.contains(g, atol=1e-3)
        if not bool(inside.all()):
            raise ValueError(f"g: element {int((~inside).nonzero()[0, 0])} is not in {self.group}")
        return self._entries(g)


def canonical_quaternion(q: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Of q and -q the one whose first number that is not 0 is positive."""
    sign = q.new_ones(q.shape[:-1])
    for number in q.flip(-1).unbind(-1):
        sign = torch.where(number == 0, sign, number.sign())
    return q * sign.unsqueeze(-1)


def _matrix_of_unit(q: Tensor) -> Tensor:
    length = q.norm(dim=1)
    off = ~((length - 1).abs() <= 1e-3)
    if bool(off.any()):
        which = int(off.nonzero()[0, 0])
        raise ValueError(f"g: quaternion {which} has length {float(length[which]):.4g}; unit quaternions are needed")
    return rotations.from_quaternion(q)
