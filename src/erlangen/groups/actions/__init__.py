"""Actions: how a group moves points, images, rows, graphs, sequences and any tuple of them."""

from erlangen._lazy import lazy_attributes

_HERE = "erlangen.groups.actions"
_PUBLIC = {
    "Action": f"{_HERE}.base:Action",
    "Trivial": f"{_HERE}.base:Trivial",
    "Function": f"{_HERE}.base:Function",
    "Compose": f"{_HERE}.base:Compose",
    "OnProduct": f"{_HERE}.base:OnProduct",
    "PerLeaf": f"{_HERE}.base:PerLeaf",
    "Linear": f"{_HERE}.linear:Linear",
    "Points": f"{_HERE}.linear:Points",
    "Vectors": f"{_HERE}.linear:Vectors",
    "LeftMul": f"{_HERE}.linear:LeftMul",
    "Permute": f"{_HERE}.permute:Permute",
    "Sequence": f"{_HERE}.permute:Sequence",
    "Sphere": f"{_HERE}.sphere:Sphere",
    "Image": f"{_HERE}.image:Image",
    "Graph": f"{_HERE}.graph:Graph",
    "from_type": f"{_HERE}.types:from_type",
    "orbit_batch": f"{_HERE}.orbits:orbit_batch",
    "rot90_batch": f"{_HERE}.orbits:rot90_batch",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
