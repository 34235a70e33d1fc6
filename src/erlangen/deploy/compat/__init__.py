"""Making spaces of different models comparable: maps between them, shared anchors, shared class vertices."""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "Adapter": "erlangen.deploy.compat.adapter:Adapter",
    "Distortion": "erlangen.deploy.compat.adapter:Distortion",
    "AnchorSet": "erlangen.deploy.compat.anchors:AnchorSet",
    "ClassRegistry": "erlangen.deploy.compat.class_registry:ClassRegistry",
    "average_compatibility": "erlangen.deploy.compat.matrix:average_compatibility",
    "average_metric": "erlangen.deploy.compat.matrix:average_metric",
    "compatibility_matrix": "erlangen.deploy.compat.matrix:compatibility_matrix",
    "pairwise_compatibility": "erlangen.deploy.compat.matrix:pairwise_compatibility",
    "OrthogonalMap": "erlangen.deploy.compat.orthogonal_map:OrthogonalMap",
    "procrustes": "erlangen.deploy.compat.orthogonal_map:procrustes",
    "RelativeProjection": "erlangen.deploy.compat.relative_projection:RelativeProjection",
    "relative": "erlangen.deploy.compat.relative_projection:relative",
    "Stitched": "erlangen.deploy.compat.stitched:Stitched",
    "stitch": "erlangen.deploy.compat.stitched:stitch",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
