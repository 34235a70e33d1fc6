"""Graphs: equivariant layers on permutation tensors, polynomial features, matrix-product and sub-graph networks."""

from erlangen._lazy import lazy_attributes

_HERE = "erlangen.nn.graphs"
_PUBLIC = {
    "EquivariantLinear": f"{_HERE}.equivariant_linear:EquivariantLinear",
    "TensorizedGNN": f"{_HERE}.tensorized_gnn:TensorizedGNN",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
