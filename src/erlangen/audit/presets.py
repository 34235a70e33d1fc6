"""Names for sets of probes, and the registry a user's own probe joins."""

from typing import Any

from erlangen._registry import probes as registry
from erlangen._registry import unknown_name
from erlangen.audit.probe import Probe

PRESETS: dict[str, tuple[str, ...]] = {
    "fast": ("dead_units", "rankme", "knn", "shift_consistency"),
    "standard": (
        "respect",
        "equivariance",
        "lie_derivative",
        "orbit_accuracy",
        "shift_consistency",
        "knn",
        "linear_probe",
        "generalization",
        "dead_units",
        "rankme",
        "alignment_uniformity",
        "cka",
        "intrinsic_dimension",
        "collapse",
        "feature_complexity",
    ),
    "symmetry": ("respect", "equivariance", "lie_derivative", "orbit_accuracy", "shift_consistency"),
    "dataset": ("duplicates", "contradictory_labels", "data_dimension", "label_sharpness", "scaling_law"),
    "theory": ("criticality",),
    "science": ("convergent", "rsa", "geometry", "feature_bias", "degeneracy", "task_circuits", "inductive_bias"),
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
        if probe.name in {p.name for p in chosen}:
            raise ValueError(f"probes: {probe.name!r} is there twice; a report has one of each name")
        chosen.append(probe)
    if not chosen:
        raise ValueError("probes: none given; name a preset or at least one probe")
    return chosen
