"""Representational similarity, from the geometry of a code to its topology, with honest error bars."""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "rdm": "erlangen.audit.rsa.dissimilarity:rdm",
    "StreamedRDM": "erlangen.audit.rsa.dissimilarity:StreamedRDM",
    "geo_topological": "erlangen.audit.rsa.transforms:geo_topological",
    "sigmoid_topological": "erlangen.audit.rsa.transforms:sigmoid_topological",
    "geodesic": "erlangen.audit.rsa.paths:geodesic",
    "compare_rdms": "erlangen.audit.rsa.comparison:compare_rdms",
    "Comparison": "erlangen.audit.rsa.comparison:Comparison",
    "permutation_test": "erlangen.audit.rsa.comparison:permutation_test",
    "noise_ceiling": "erlangen.audit.rsa.inference:noise_ceiling",
    "evaluate_models": "erlangen.audit.rsa.inference:evaluate_models",
    "ModelComparison": "erlangen.audit.rsa.inference:ModelComparison",
    "identify": "erlangen.audit.rsa.identification:identify",
    "Identification": "erlangen.audit.rsa.identification:Identification",
    "upper_triangle": "erlangen.audit.rsa.dissimilarity:upper_triangle",
    "from_upper_triangle": "erlangen.audit.rsa.dissimilarity:from_upper_triangle",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
