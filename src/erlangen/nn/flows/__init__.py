"""Normalising flows on manifolds whose densities are exactly invariant under a group of isometries."""

from erlangen._lazy import lazy_attributes

_HERE = "erlangen.nn.flows"
_PUBLIC = {
    "ClassFunctionPotential": f"{_HERE}.class_function_potential:ClassFunctionPotential",
    "EquivariantManifoldFlow": f"{_HERE}.equivariant_manifold_flow:EquivariantManifoldFlow",
    "Potential": f"{_HERE}.potential:Potential",
    "RidgePotential": f"{_HERE}.ridge_potential:RidgePotential",
    "SymmetrizedPotential": f"{_HERE}.symmetrized_potential:SymmetrizedPotential",
    "TorusPotential": f"{_HERE}.torus_potential:TorusPotential",
    "ZonalPotential": f"{_HERE}.zonal_potential:ZonalPotential",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
