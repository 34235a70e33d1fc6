"""Names for sets of probes, and the registry a user's own probe joins."""

from typing import Any

from erlangen._registry import probes as registry
from erlangen._registry import unknown_name
from erlangen.audit.probe import Probe

BUILT_IN = (
    "equivariance",
    "lie_derivative",
    "orbit_accuracy",
    "shift_consistency",
    "knn",
    "linear_probe",
    "rankme",
    "alignment_uniformity",
    "cka",
)
PRESETS: dict[str, tuple[str, ...]] = {
    "fast": ("rankme", "knn", "shift_consistency"),
    "standard": BUILT_IN,
    "symmetry": ("equivariance", "lie_derivative", "orbit_accuracy", "shift_consistency"),
}

register = registry.register


def choose(probes: Any) -> list[Probe]:
    """Probe objects for a preset, a name, names or objects."""
    if isinstance(probes, str) and probes in PRESETS:
        probes = PRESETS[probes]
    chosen: list[Probe] = []
    for probe in [probes] if isinstance(probes, (str, Probe)) else list(probes):
        if isinstance(probe, str):
            if probe not in registry:
                raise unknown_name("probes", probe, [*PRESETS, *registry.names()])
            probe = registry.build(probe)
        if not isinstance(probe, Probe):
            raise TypeError(f"probes: got {type(probe).__name__}; allowed are presets, names and Probe objects")
        chosen.append(probe)
    if not chosen:
        raise ValueError("probes: none given; name a preset or at least one probe")
    return chosen
