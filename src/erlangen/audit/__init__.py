"""Look at a model and its data; return numbers with error bars, references and verdicts."""

from erlangen._lazy import lazy_attributes, make_callable

_PUBLIC = {
    "audit": "erlangen.audit.run:audit",
    "discover": "erlangen.audit.discovery:discover",
    "Discovery": "erlangen.audit.discovery_report:Discovery",
    "Budget": "erlangen.audit.budget:Budget",
    "PlanError": "erlangen.audit.budget:PlanError",
    "Report": "erlangen.audit.report:Report",
    "AuditFailed": "erlangen.audit.report:AuditFailed",
    "Finding": "erlangen.audit.finding:Finding",
    "Interval": "erlangen.audit.finding:Interval",
    "Reference": "erlangen.audit.finding:Reference",
    "Cost": "erlangen.audit.finding:Cost",
    "FigureSpec": "erlangen.audit.finding:FigureSpec",
    "PRESETS": "erlangen.audit.presets:PRESETS",
    "probes": "erlangen._registry:probes",
    "polynomial_expressivity": "erlangen.audit.expressivity:polynomial_expressivity",
    "register": "erlangen.audit.presets:register",
    "invariance": "erlangen.audit.invariance",
    "theory": "erlangen.audit.theory",
    "dataset": "erlangen.audit.dataset",
    "init_critical_": "erlangen.audit.theory.initialise:init_critical_",
    "landscape": "erlangen.audit.landscape",
    "bias": "erlangen.audit.bias",
    "feature_complexity": "erlangen.audit.redundancy:feature_complexity",
    "degeneracy": "erlangen.audit.degeneracy",
    "jacobians": "erlangen.audit.jacobians",
    "rsa": "erlangen.audit.rsa",
    "alignment": "erlangen.audit.alignment",
    "collapse": "erlangen.audit.collapse",
    "neural_collapse": "erlangen.audit.collapse.findings:neural_collapse",
    "gof_prediction": "erlangen.audit.collapse.frames:gof_prediction",
    "seli_prediction": "erlangen.audit.collapse.frames:seli_prediction",
    "geometry": "erlangen.audit.geometry",
    "target_alignment": "erlangen.audit.geometry:target_alignment",
    "parallelism_score": "erlangen.audit.geometry:parallelism_score",
    "ccgp": "erlangen.audit.geometry:ccgp",
    "features": "erlangen.audit.features",
    "variance_explained": "erlangen.audit.features:variance_explained",
    "feature_bias_report": "erlangen.audit.features:feature_bias_report",
    "circuits": "erlangen.audit.circuits",
    "TaskDisentangler": "erlangen.audit.circuits.disentangler:TaskDisentangler",
    "SubArchitectures": "erlangen.audit.circuits.sub_architectures:SubArchitectures",
    "MinibatchCKA": "erlangen.stats.similarity_streaming:MinibatchCKA",
    "StreamingCKA": "erlangen.stats.similarity_streaming:StreamingCKA",
    "similarity_matrix": "erlangen.audit.similarity:similarity_matrix",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
make_callable(__name__, "audit")
