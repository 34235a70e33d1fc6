"""Exponentials, logarithms and polar factors of matrix groups, with their measures: pure functions on tensors."""

from erlangen.groups.lie.exponential import rotation_dimension, rotation_exp, rotation_log, safe_norm
from erlangen.groups.lie.measure import equidistant_rotations, importance_weights
from erlangen.groups.lie.polar import (
    PolarFactors,
    from_polar_coordinates,
    polar_coordinates,
    polar_dimension,
    polar_factors,
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
    "PolarFactors",
    "eigh_safe",
    "equidistant_rotations",
    "from_polar_coordinates",
    "importance_weights",
    "nearest_orthogonal",
    "polar_coordinates",
    "polar_dimension",
    "polar_factors",
    "rotation_dimension",
    "rotation_exp",
    "rotation_log",
    "safe_norm",
    "symmetric_exp",
    "symmetric_inverse_sqrt",
    "symmetric_log",
    "symmetric_sqrt",
]
