"""What a group is: sample, compose, invert, enumerate or exponentiate, on plain tensors."""

from erlangen.groups.base.finite_group import FiniteGroup
from erlangen.groups.base.group import (
    Batch,
    Device,
    Element,
    Generators,
    Group,
    GroupLogError,
    GroupMembershipError,
    Sampler,
)
from erlangen.groups.base.lie_group import LieGroup
from erlangen.groups.base.matrix_group import MatrixGroup

__all__ = [
    "Batch",
    "Device",
    "Element",
    "FiniteGroup",
    "Generators",
    "Group",
    "GroupLogError",
    "GroupMembershipError",
    "LieGroup",
    "MatrixGroup",
    "Sampler",
]
