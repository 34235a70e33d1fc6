"""What an architecture makes easy: bits of inductive bias a task asks for, samples an architecture asks for."""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "inductive_bias": "erlangen.audit.bias.kernel_bias:inductive_bias",
    "inductive_bias_nn": "erlangen.audit.bias.network_bias:inductive_bias_nn",
    "interpolants": "erlangen.audit.bias.posterior:interpolants",
    "quadratic_form_logcdf": "erlangen.stats.quadratic_form:quadratic_form_logcdf",
    "sample_complexity": "erlangen.audit.bias.samples_needed:sample_complexity",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
