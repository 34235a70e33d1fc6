"""The registries of encoders and modules with everything that ships in this room already in them."""

import importlib

from erlangen._registry import encoders, modules

SHIPPED = (
    "erlangen.nn.mlp",
    "erlangen.nn.symmetrize",
    "erlangen.nn.soft_equivariant",
    "erlangen.nn.images.plain_cnn",
    "erlangen.nn.images.group_cnn",
    "erlangen.nn.images.group_conv",
    "erlangen.nn.images.regular",
    "erlangen.nn.images.blur_pool",
    "erlangen.nn.graphs.equivariant_linear",
    "erlangen.nn.graphs.tensorized_gnn",
    "erlangen.nn.graphs.polynomial_family",
)
for _name in SHIPPED:
    importlib.import_module(_name)

register = encoders.register

__all__ = ["encoders", "modules", "register"]
