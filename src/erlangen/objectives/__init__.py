"""Losses that shape a representation: pure functions with named terms, and thin modules around them.

`objectives.build("vicreg")` makes one by name; `@objectives.register("mine")` adds a class of your own.
"""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "BiasContrast": "erlangen.objectives.bias_contrast:BiasContrast",
    "GroupDRO": "erlangen.objectives.group_dro:GroupDRO",
    "LearningFromFailure": "erlangen.objectives.learning_from_failure:LearningFromFailure",
    "GeneralizedCrossEntropy": "erlangen.objectives.generalized_cross_entropy:GeneralizedCrossEntropy",
    "DeepHash": "erlangen.objectives.deep_hash:DeepHash",
    "DeepHashLoss": "erlangen.objectives.deep_hash:DeepHash",
    "Guidance": "erlangen.objectives.guidance:Guidance",
    "GuidanceLoss": "erlangen.objectives.guidance:Guidance",
    "MultiTeacherDistillation": "erlangen.objectives.distillation:MultiTeacherDistillation",
    "GroupCode": "erlangen.objectives.group_codes:GroupCode",
    "SIE": "erlangen.objectives.sie:SIE",
    "SIELoss": "erlangen.objectives.sie:SIE",
    "AutoStrength": "erlangen.objectives.auto_strength:AutoStrength",
    "EquivarianceRegularizer": "erlangen.objectives.equivariance_regularizer:EquivarianceRegularizer",
    "CrossEntropy": "erlangen.objectives.supervised:CrossEntropy",
    "EMATeacher": "erlangen.objectives.teacher:EMATeacher",
    "FeatureQueue": "erlangen.objectives.queue:FeatureQueue",
    "GroupPrediction": "erlangen.objectives.group_prediction:GroupPrediction",
    "EquiangularVectors": "erlangen.objectives.equiangular:EquiangularVectors",
    "Stationary": "erlangen.objectives.higher_order_compatibility:Stationary",
    "Matryoshka": "erlangen.objectives.matryoshka:Matryoshka",
    "MatryoshkaLoss": "erlangen.objectives.matryoshka:Matryoshka",
    "LossTerms": "erlangen.objectives.terms:LossTerms",
    "NTXent": "erlangen.objectives.ntxent:NTXent",
    "OBoW": "erlangen.objectives.obow:OBoW",
    "OBoWLoss": "erlangen.objectives.obow:OBoW",
    "BoWTargets": "erlangen.objectives.bow_targets:BoWTargets",
    "Objective": "erlangen.objectives.objective:Objective",
    "RotationPrediction": "erlangen.objectives.group_prediction:GroupPrediction",
    "TripletSiameseLoss": "erlangen.objectives.triplet:TripletSiameseLoss",
    "VICReg": "erlangen.objectives.vicreg:VICReg",
    "VICRegLoss": "erlangen.objectives.vicreg:VICReg",
    "build": "erlangen.objectives.catalogue:build",
    "distributed": "erlangen.objectives.distributed",
    "functional": "erlangen.objectives.functional",
    "get": "erlangen.objectives.catalogue:get",
    "names": "erlangen.objectives.catalogue:names",
    "register": "erlangen.objectives.catalogue:register",
    "effective_sample_size": "erlangen.objectives.density_matching:effective_sample_size",
    "reverse_kl": "erlangen.objectives.density_matching:reverse_kl",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
