"""Statistics on tensors: accumulators, resampling, similarity, nearest neighbours, closed-form probes."""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "Moments": "erlangen.stats.accumulators:Moments",
    "CrossMoments": "erlangen.stats.accumulators:CrossMoments",
    "ClassMoments": "erlangen.stats.accumulators:ClassMoments",
    "Reservoir": "erlangen.stats.reservoir:Reservoir",
    "count_sketch": "erlangen.stats.sketch:count_sketch",
    "bootstrap_bca": "erlangen.stats.resample:bootstrap_bca",
    "subsample_ci": "erlangen.stats.resample:subsample_ci",
    "clopper_pearson": "erlangen.stats.resample:clopper_pearson",
    "permutation_null": "erlangen.stats.resample:permutation_null",
    "paired_difference": "erlangen.stats.resample:paired_difference",
    "holm": "erlangen.stats.resample:holm",
    "cka": "erlangen.stats.similarity:cka",
    "cosine": "erlangen.stats.similarity:cosine",
    "procrustes": "erlangen.stats.similarity:procrustes",
    "unbiased_hsic": "erlangen.stats.similarity:unbiased_hsic",
    "knn": "erlangen.stats.neighbors:knn",
    "knn_classify": "erlangen.stats.neighbors:knn_classify",
    "fit_ridge": "erlangen.stats.linear_probe:fit_ridge",
    "fit_logistic": "erlangen.stats.linear_probe:fit_logistic",
    "pack_bits": "erlangen.stats.hamming:pack_bits",
    "unpack_bits": "erlangen.stats.hamming:unpack_bits",
    "hamming_distance": "erlangen.stats.hamming:hamming_distance",
    "hamming_topk": "erlangen.stats.hamming:hamming_topk",
    "mean_average_precision": "erlangen.stats.retrieval:mean_average_precision",
    "cmc": "erlangen.stats.retrieval:cmc",
    "precision_at_k": "erlangen.stats.retrieval:precision_at_k",
    "precision_within_radius": "erlangen.stats.retrieval:precision_within_radius",
    "rankme": "erlangen.stats.spectrum:rankme",
    "effective_rank": "erlangen.stats.spectrum:effective_rank",
    "participation_ratio": "erlangen.stats.spectrum:participation_ratio",
    "alignment": "erlangen.stats.contrast:alignment",
    "uniformity": "erlangen.stats.contrast:uniformity",
    "uniform_sphere_uniformity": "erlangen.stats.contrast:uniform_sphere_uniformity",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
