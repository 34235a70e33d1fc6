"""Layers and models, by the domain of the signal; registered encoders are found by name in `encoders`."""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "ConvolutionalDSD": "erlangen.nn.patch_networks:ConvolutionalDSD",
    "FullyConnectedDSD": "erlangen.nn.patch_networks:FullyConnectedDSD",
    "LocallyConnectedDSD": "erlangen.nn.patch_networks:LocallyConnectedDSD",
    "HashHead": "erlangen.nn.hash_head:HashHead",
    "SplitProjector": "erlangen.nn.split_projector:SplitProjector",
    "images": "erlangen.nn.images",
    "points": "erlangen.nn.points",
    "graphs": "erlangen.nn.graphs",
    "heads": "erlangen.nn.heads",
    "hyper": "erlangen.nn.hyper",
    "tap": "erlangen.nn.tap",
    "CouplingGraph": "erlangen.nn.parameter_symmetry:CouplingGraph",
    "encoders": "erlangen.nn.catalogue:encoders",
    "modules": "erlangen.nn.catalogue:modules",
    "register": "erlangen.nn.catalogue:register",
    "symmetrize": "erlangen.nn.symmetrize:symmetrize",
    "MatryoshkaHead": "erlangen.nn.matryoshka_head:MatryoshkaHead",
    "FixedClassifier": "erlangen.nn.fixed_classifier:FixedClassifier",
    "SoftEquivariantMLP": "erlangen.nn.soft_equivariant:SoftEquivariantMLP",
    "SoftLinear": "erlangen.nn.soft_equivariant:SoftLinear",
    "MLP": "erlangen.nn.mlp:MLP",
    "prototypes": "erlangen.nn.prototypes",
    "flows": "erlangen.nn.flows",
    "RotationHead": "erlangen.nn.rotation_head:RotationHead",
    "spheres": "erlangen.nn.spheres",
    "InductionLayer": "erlangen.nn.spheres.induction_layer:InductionLayer",
    "OrthographicLift": "erlangen.nn.spheres.orthographic_lift:OrthographicLift",
    "SO3Distribution": "erlangen.nn.spheres.so3_distribution:SO3Distribution",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
