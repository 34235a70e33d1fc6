"""The registries of encoders and modules with everything that ships in this room already in them."""

import importlib

from erlangen._registry import encoders, modules

SHIPPED = (
    "erlangen.nn.mlp",
    "erlangen.nn.symmetrize",
    "erlangen.nn.points.tinv",
    "erlangen.nn.soft_equivariant",
    "erlangen.nn.images.plain_cnn",
    "erlangen.nn.images.nin",
    "erlangen.nn.images.group_cnn",
    "erlangen.nn.images.group_conv",
    "erlangen.nn.images.regular",
    "erlangen.nn.images.blur_pool",
    "erlangen.nn.graphs.equivariant_linear",
    "erlangen.nn.graphs.tensorized_gnn",
    "erlangen.nn.graphs.polynomial_family",
    "erlangen.nn.graphs.ppgn",
    "erlangen.nn.graphs.subgraph_equivariant",
    "erlangen.nn.flows.equivariant_manifold_flow",
    "erlangen.nn.points.gaunt_product",
    "erlangen.nn.points.gaunt_power",
    "erlangen.nn.points.vector_gaunt_product",
    "erlangen.nn.points.tensor_product",
    "erlangen.nn.points.edge_product",
    "erlangen.nn.points.interatomic",
    "erlangen.nn.patch_networks",
    "erlangen.nn.rotation_head",
    "erlangen.nn.images.lie_resnet",
    "erlangen.nn.spheres.induction_layer",
)
for _name in SHIPPED:
    importlib.import_module(_name)

register = encoders.register

__all__ = ["encoders", "modules", "register"]
