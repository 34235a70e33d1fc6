"""Neural collapse: is the last layer collapsed, towards which geometry, and which geometry does theory predict?"""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "CollapseMoments": "erlangen.audit.collapse.moments:CollapseMoments",
    "FramePrediction": "erlangen.audit.collapse.frames:FramePrediction",
    "etf_prediction": "erlangen.audit.collapse.frames:etf_prediction",
    "frame_distance": "erlangen.audit.collapse.frames:frame_distance",
    "gof_prediction": "erlangen.audit.collapse.frames:gof_prediction",
    "orthogonal_prediction": "erlangen.audit.collapse.frames:orthogonal_prediction",
    "seli_prediction": "erlangen.audit.collapse.frames:seli_prediction",
    "measure_collapse": "erlangen.audit.collapse.measure:measure_collapse",
    "neural_collapse": "erlangen.audit.collapse.findings:neural_collapse",
    "unconstrained_features": "erlangen.audit.collapse.unconstrained:unconstrained_features",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
