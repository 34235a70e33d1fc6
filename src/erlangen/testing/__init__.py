"""The checker: is this model symmetric, how well, where does it break and why?"""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "Case": "erlangen.groups.symmetry:Case",
    "CheckError": "erlangen.testing.runner:CheckError",
    "CheckResult": "erlangen.testing.result:CheckResult",
    "EquivarianceError": "erlangen.testing.result:EquivarianceError",
    "Risk": "erlangen.testing.result:Risk",
    "Thresholds": "erlangen.testing.verdict:Thresholds",
    "check": "erlangen.testing.examine:check",
    "check_equivariance": "erlangen.testing.examine:check",
    "check_module": "erlangen.testing.pytest_support:check_module",
    "module_checks": "erlangen.testing.named_checks:module_checks",
    "parametrize_with_checks": "erlangen.testing.pytest_support:parametrize_with_checks",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
