"""Imports every built-in probe, which registers them; the registry imports this when it is first asked for a name."""

from erlangen.audit.probes import (
    alignment_uniformity,
    cka,
    collapse,
    dead_units,
    equivariance,
    feature_bias,
    feature_complexity,
    generalization,
    geometry,
    knn,
    lie_derivative,
    linear_probe,
    orbit_accuracy,
    rankme,
    shift_consistency,
    task_circuits,
)

__all__ = [
    "alignment_uniformity",
    "cka",
    "collapse",
    "dead_units",
    "equivariance",
    "feature_bias",
    "feature_complexity",
    "generalization",
    "geometry",
    "knn",
    "lie_derivative",
    "linear_probe",
    "orbit_accuracy",
    "rankme",
    "shift_consistency",
    "task_circuits",
]
