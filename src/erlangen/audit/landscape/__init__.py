"""How many directions of weight space training needs: random subspaces and the dimension at which they suffice."""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "SubspaceModel": "erlangen.audit.landscape.subspace_model:SubspaceModel",
    "intrinsic_dimension": "erlangen.audit.landscape.intrinsic:intrinsic_dimension",
    "hadamard_transform": "erlangen.groups.hadamard:hadamard_transform",
    "make_projection": "erlangen.audit.landscape.projections:make_projection",
    "PROJECTIONS": "erlangen.audit.landscape.projections:PROJECTIONS",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
