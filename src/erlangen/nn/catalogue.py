"""The registries of encoders and modules with everything that ships in this room already in them."""

from erlangen._registry import encoders, modules
from erlangen.nn import mlp
from erlangen.nn.images import blur_pool, group_cnn, group_conv, plain_cnn, regular

register = encoders.register
SHIPPED = (mlp, plain_cnn, group_cnn, group_conv, regular, blur_pool)

__all__ = ["encoders", "modules", "register"]
