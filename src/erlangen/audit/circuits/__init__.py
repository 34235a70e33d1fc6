"""Which units carry which task: sub-architectures of a trained network."""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "SubArchitectures": "erlangen.audit.circuits.sub_architectures:SubArchitectures",
    "TaskDisentangler": "erlangen.audit.circuits.disentangler:TaskDisentangler",
    "gate_layers": "erlangen.audit.circuits.gates:gate_layers",
    "gated": "erlangen.audit.circuits.gates:gated",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
