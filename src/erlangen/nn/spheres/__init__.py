"""Signals on the sphere and on SO(3): from images to irreps of rotations, and distributions over rotations."""

from erlangen._lazy import lazy_attributes

_HERE = "erlangen.nn.spheres"
_PUBLIC = {
    "DegreeLinear": f"{_HERE}.degree_linear:DegreeLinear",
    "InductionLayer": f"{_HERE}.induction_layer:InductionLayer",
    "OrthographicLift": f"{_HERE}.orthographic_lift:OrthographicLift",
    "RotationActivation": f"{_HERE}.rotation_activation:RotationActivation",
    "RotationDensity": f"{_HERE}.rotation_density:RotationDensity",
    "SO3Distribution": f"{_HERE}.so3_distribution:SO3Distribution",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
