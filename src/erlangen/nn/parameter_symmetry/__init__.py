"""Changes of a network's parameters that leave its function alone: permutations, scales, mergers of its units."""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "CouplingGraph": "erlangen.nn.parameter_symmetry.coupling_graph:CouplingGraph",
    "Group": "erlangen.nn.parameter_symmetry.groups:Group",
    "Slot": "erlangen.nn.parameter_symmetry.groups:Slot",
    "Factor": "erlangen.nn.parameter_symmetry.groups:Factor",
    "Fixed": "erlangen.nn.parameter_symmetry.groups:Fixed",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
