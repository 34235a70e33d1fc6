"""erlangen: name a symmetry; learn a representation that respects it, prove that it does, and keep it usable."""

from erlangen._lazy import lazy_attributes

__version__ = "0.1.0"

_PUBLIC = {
    "Symmetry": "erlangen.groups.symmetry:Symmetry",
    "symmetrize": "erlangen.nn.symmetrize:symmetrize",
    "check": "erlangen.testing:check",
    "fit": "erlangen.train:fit",
    "load": "erlangen.train:load",
    "discover": "erlangen.audit.discovery:discover",
    "audit": "erlangen.audit",
    "data": "erlangen.data",
    "deploy": "erlangen.deploy",
    "groups": "erlangen.groups",
    "nn": "erlangen.nn",
    "objectives": "erlangen.objectives",
    "report": "erlangen.report",
    "recipes": "erlangen.recipes",
    "stats": "erlangen.stats",
    "testing": "erlangen.testing",
    "train": "erlangen.train",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
