"""Graphs: equivariant layers on permutation tensors, polynomial features, matrix-product and sub-graph networks."""

from erlangen._lazy import lazy_attributes

_HERE = "erlangen.nn.graphs"
_PUBLIC = {
    "EquivariantLinear": f"{_HERE}.equivariant_linear:EquivariantLinear",
    "TensorizedGNN": f"{_HERE}.tensorized_gnn:TensorizedGNN",
    "Multigraph": "erlangen.groups.multigraphs:Multigraph",
    "multigraphs": "erlangen.groups.multigraphs:multigraphs",
    "equivariant_polynomial": f"{_HERE}.single_polynomial:equivariant_polynomial",
    "polynomial_features": f"{_HERE}.polynomial_family:polynomial_features",
    "PolynomialFeatures": f"{_HERE}.polynomial_family:PolynomialFeatures",
    "PPGN": f"{_HERE}.ppgn:PPGN",
    "PPGNPlusPlus": f"{_HERE}.ppgn:PPGNPlusPlus",
    "SubgraphLinear": f"{_HERE}.subgraph_linear:SubgraphLinear",
    "SubgraphPermEquivariant": f"{_HERE}.subgraph_equivariant:SubgraphPermEquivariant",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
