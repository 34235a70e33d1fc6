"""What the theory of wide and deep networks says of an architecture before it is trained."""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "Activation": "erlangen.stats.activations:Activation",
    "kernel_recursion": "erlangen.audit.theory.kernels:kernel_recursion",
    "ntk_recursion": "erlangen.audit.theory.kernels:ntk_recursion",
    "Criticality": "erlangen.audit.theory.tuning:Criticality",
    "criticality": "erlangen.audit.theory.tuning:criticality",
    "FourPoint": "erlangen.audit.theory.vertex:FourPoint",
    "four_point": "erlangen.audit.theory.vertex:four_point",
    "vertex_slope": "erlangen.audit.theory.vertex:vertex_slope",
    "optimal_aspect_ratio": "erlangen.audit.theory.vertex:optimal_aspect_ratio",
    "sample_networks": "erlangen.audit.theory.sampling:sample_networks",
    "trace_weights": "erlangen.audit.theory.weights:trace_weights",
    "init_critical_": "erlangen.audit.theory.initialise:init_critical_",
    "empirical_ntk": "erlangen.audit.tangent_kernel:empirical_ntk",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
