"""How invariant a linear representation is over interventions, and how far that carries to unseen ones."""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "EnvironmentMoments": "erlangen.audit.invariance.moments:EnvironmentMoments",
    "Interventions": "erlangen.audit.invariance.interventions:Interventions",
    "InvariantChoice": "erlangen.audit.invariance.search:InvariantChoice",
    "LinearSEM": "erlangen.audit.invariance.linear_sem:LinearSEM",
    "approx_invariance": "erlangen.audit.invariance.approximate:approx_invariance",
    "coordinate_subsets": "erlangen.audit.invariance.search:coordinate_subsets",
    "find_invariant": "erlangen.audit.invariance.search:find_invariant",
    "learn_invariant": "erlangen.audit.invariance.learned:learn_invariant",
    "pac_sample_size": "erlangen.audit.invariance.sample_size:pac_sample_size",
    "pac_violation_bound": "erlangen.audit.invariance.sample_size:pac_violation_bound",
    "pooled_weights": "erlangen.audit.invariance.approximate:pooled_weights",
    "polynomial_complexity": "erlangen.audit.invariance.sample_size:polynomial_complexity",
    "violations": "erlangen.audit.invariance.approximate:violations",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
