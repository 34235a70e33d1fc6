"""Exponentials, logarithms and polar factors of matrix groups, with their measures: pure functions on tensors."""

from erlangen.groups.lie.exponential import rotation_dimension, rotation_exp, rotation_log, safe_norm
from erlangen.groups.lie.measure import equidistant_rotations, importance_weights, log_prob_polar, sample_polar
from erlangen.groups.lie.polar import (
    GroupMembershipError,
    PolarFactors,
    from_polar_coordinates,
    polar_coordinates,
    polar_dimension,
    polar_factors,
    symmetric_basis,
)
from erlangen.groups.lie.procrustes import nearest_orthogonal
from erlangen.groups.lie.spectral import (
    eigh_safe,
    symmetric_exp,
    symmetric_inverse_sqrt,
    symmetric_log,
    symmetric_sqrt,
)

__all__ = [
    "GroupMembershipError",
    "PolarFactors",
    "eigh_safe",
    "equidistant_rotations",
    "from_polar_coordinates",
    "importance_weights",
    "log_prob_polar",
    "nearest_orthogonal",
    "polar_coordinates",
    "polar_dimension",
    "polar_factors",
    "rotation_dimension",
    "rotation_exp",
    "rotation_log",
    "safe_norm",
    "sample_polar",
    "symmetric_basis",
    "symmetric_exp",
    "symmetric_inverse_sqrt",
    "symmetric_log",
    "symmetric_sqrt",
]
