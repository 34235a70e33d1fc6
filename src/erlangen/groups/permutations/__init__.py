"""Permutation tensors: set partitions, the linear maps they name between (R^n)^⊗k, and how to apply them."""

from erlangen._lazy import lazy_attributes

_HERE = "erlangen.groups.permutations"
_PUBLIC = {
    "set_partitions": f"{_HERE}.partitions:set_partitions",
    "bell": f"{_HERE}.partitions:bell",
    "is_coarser": f"{_HERE}.partitions:is_coarser",
    "mobius": f"{_HERE}.partitions:mobius",
    "Diagram": f"{_HERE}.wiring:Diagram",
    "diagrams": f"{_HERE}.wiring:diagrams",
    "contract": f"{_HERE}.contraction:contract",
    "perm_basis_apply": f"{_HERE}.contraction:perm_basis_apply",
    "orbit_index": f"{_HERE}.basis:orbit_index",
    "perm_hom_basis": f"{_HERE}.basis:perm_hom_basis",
    "perm_projection": f"{_HERE}.basis:perm_projection",
    "orbit_basis": f"{_HERE}.basis:orbit_basis",
    "diagram_basis": f"{_HERE}.basis:diagram_basis",
    "orbit_from_diagram": f"{_HERE}.basis:orbit_from_diagram",
    "diagram_from_orbit": f"{_HERE}.basis:diagram_from_orbit",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
