"""Which units, small groups of units and subspaces two networks have in common."""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "PairMoments": "erlangen.audit.alignment.moments:PairMoments",
    "cross_correlation": "erlangen.audit.alignment.moments:cross_correlation",
    "as_samples": "erlangen.audit.alignment.moments:as_samples",
    "match_units": "erlangen.audit.alignment.matching:match_units",
    "Matching": "erlangen.audit.alignment.matching:Matching",
    "mutual_information": "erlangen.audit.alignment.information:mutual_information",
    "sparse_map": "erlangen.audit.alignment.sparse:sparse_map",
    "SparseMap": "erlangen.audit.alignment.sparse:SparseMap",
    "best_partners": "erlangen.audit.alignment.sparse:best_partners",
    "joint_clusters": "erlangen.audit.alignment.clusters:joint_clusters",
    "JointClusters": "erlangen.audit.alignment.clusters:JointClusters",
    "subspace_overlap": "erlangen.audit.alignment.subspaces:subspace_overlap",
    "converge": "erlangen.audit.alignment.convergence:converge",
    "Convergence": "erlangen.audit.alignment.convergence:Convergence",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
