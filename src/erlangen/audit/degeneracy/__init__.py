"""What of a network's parameters does nothing, and features that do not depend on how it is parametrised."""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "InteractionBasis": "erlangen.audit.degeneracy.interaction_basis:InteractionBasis",
    "Basis": "erlangen.audit.degeneracy.interaction_basis:Basis",
    "degeneracy_report": "erlangen.audit.degeneracy.free_directions:degeneracy_report",
    "LayerDegeneracy": "erlangen.audit.degeneracy.free_directions:LayerDegeneracy",
    "Modularity": "erlangen.audit.degeneracy.communities:Modularity",
    "modularity": "erlangen.audit.degeneracy.communities:modularity",
    "interaction_graph": "erlangen.audit.degeneracy.communities:interaction_graph",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
