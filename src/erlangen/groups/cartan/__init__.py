"""Cartan matrices, Dynkin diagrams, Weyl groups and weight multiplicities, in exact integers."""

from erlangen._lazy import lazy_attributes

_HERE = "erlangen.groups.cartan"
_PUBLIC = {
    "CartanType": f"{_HERE}.cartan_type:CartanType",
    "Component": f"{_HERE}.cartan_type:Component",
    "InfiniteError": f"{_HERE}.errors:InfiniteError",
    "cartan_matrix": f"{_HERE}.matrices:cartan_matrix",
    "dominant_weights": f"{_HERE}.characters:dominant_weights",
    "freudenthal": f"{_HERE}.characters:freudenthal",
    "orbit": f"{_HERE}.weyl:orbit",
    "to_dominant": f"{_HERE}.weyl:to_dominant",
    "weyl_dimension": f"{_HERE}.characters:weyl_dimension",
    "WeylElement": f"{_HERE}.weyl:WeylElement",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
