"""Using a representation: embeddings on disk and search over them."""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "compat": "erlangen.deploy.compat",
    "ConcatEncoder": "erlangen.deploy.concat_encoder:ConcatEncoder",
    "embed": "erlangen.deploy.embedding:embed",
    "open_embeddings": "erlangen.deploy.embedding:open_embeddings",
    "embedding_space": "erlangen.deploy.embedding:embedding_space",
    "AdaptiveClassifier": "erlangen.deploy.adaptive_classifier:AdaptiveClassifier",
    "Index": "erlangen.deploy.index:Index",
    "BinaryIndex": "erlangen.deploy.binary:BinaryIndex",
    "pack_bits": "erlangen.stats.hamming:pack_bits",
    "unpack_bits": "erlangen.stats.hamming:unpack_bits",
    "hamming_topk": "erlangen.stats.hamming:hamming_topk",
    "ExactIndex": "erlangen.deploy.exact:ExactIndex",
    "FaissIndex": "erlangen.deploy.faiss_engine:FaissIndex",
    "FunnelSearch": "erlangen.deploy.funnel:FunnelSearch",
    "truncate": "erlangen.deploy.funnel:truncate",
    "writing": "erlangen.deploy.generations:writing",
    "VersionedGallery": "erlangen.deploy.gallery:VersionedGallery",
    "PgvectorIndex": "erlangen.deploy.pgvector_engine:PgvectorIndex",
    "UsearchIndex": "erlangen.deploy.usearch_engine:UsearchIndex",
    "UpgradeReport": "erlangen.deploy.model_upgrade:UpgradeReport",
    "merge_features": "erlangen.deploy.feature_merging:merge_features",
    "MergeReport": "erlangen.deploy.feature_merging:MergeReport",
    "measure_upgrade": "erlangen.deploy.model_upgrade:measure_upgrade",
    "upgrade": "erlangen.deploy.model_upgrade:upgrade",
    "SearchResult": "erlangen.deploy.index:SearchResult",
    "SpaceInfo": "erlangen.deploy.space:SpaceInfo",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
