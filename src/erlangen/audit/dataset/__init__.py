"""What a data set says before anything is trained: its dimension, the sharpness of its labels, its duplicates."""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "IntrinsicDimension": "erlangen.audit.dataset.dimension:IntrinsicDimension",
    "intrinsic_dimension": "erlangen.audit.dataset.dimension:intrinsic_dimension",
    "LabelSharpness": "erlangen.audit.dataset.sharpness:LabelSharpness",
    "label_sharpness": "erlangen.audit.dataset.sharpness:label_sharpness",
    "nearest_enemies": "erlangen.audit.dataset.sharpness:nearest_enemies",
    "Duplicates": "erlangen.audit.dataset.copies:Duplicates",
    "duplicates": "erlangen.audit.dataset.copies:duplicates",
    "ScalingLaw": "erlangen.audit.dataset.scaling:ScalingLaw",
    "scaling_law": "erlangen.audit.dataset.scaling:scaling_law",
    "dataset_report": "erlangen.audit.dataset.summary:dataset_report",
    "DatasetReport": "erlangen.audit.dataset.summary:DatasetReport",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
