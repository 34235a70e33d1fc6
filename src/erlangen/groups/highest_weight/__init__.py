"""Weights, faces and polyhedra of highest weight modules, from a Cartan matrix and a weight, without convex hulls."""

from erlangen._lazy import lazy_attributes

_HERE = "erlangen.groups.highest_weight"
_PUBLIC = {
    "CartanType": "erlangen.groups.cartan.cartan_type:CartanType",
    "Face": f"{_HERE}.faces:Face",
    "HalfSpace": f"{_HERE}.polyhedron:HalfSpace",
    "HighestWeightModule": f"{_HERE}.module:HighestWeightModule",
    "InfiniteError": "erlangen.groups.cartan.errors:InfiniteError",
    "UniversalWeylPolyhedron": f"{_HERE}.universal:UniversalWeylPolyhedron",
    "UnsettledError": f"{_HERE}.localization:UnsettledError",
    "universal_weyl_polyhedron": f"{_HERE}.universal:universal_weyl_polyhedron",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
