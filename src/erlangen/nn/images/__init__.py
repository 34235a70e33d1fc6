"""Images: a plain and a group-equivariant encoder, and the layers they are made of."""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "ClassGenerator": "erlangen.nn.images.class_generator:ClassGenerator",
    "ImageTranslator": "erlangen.nn.images.translator:ImageTranslator",
    "DomainCritic": "erlangen.nn.images.translator:DomainCritic",
    "PlainCNN": "erlangen.nn.images.plain_cnn:PlainCNN",
    "NIN": "erlangen.nn.images.nin:NIN",
    "GroupCNN": "erlangen.nn.images.group_cnn:GroupCNN",
    "GroupConv2d": "erlangen.nn.images.group_conv:GroupConv2d",
    "LazyGroupConv2d": "erlangen.nn.images.group_conv:LazyGroupConv2d",
    "GroupBatchNorm2d": "erlangen.nn.images.regular:GroupBatchNorm2d",
    "GroupPool": "erlangen.nn.images.regular:GroupPool",
    "RegularFields": "erlangen.nn.images.regular:RegularFields",
    "BlurPool2d": "erlangen.nn.images.blur_pool:BlurPool2d",
    "filter_basis": "erlangen.nn.images.filters:filter_basis",
    "LocallyConnected2d": "erlangen.nn.images.locally_connected:LocallyConnected2d",
    "LieGroupConv2d": "erlangen.nn.images.lie_group_conv:LieGroupConv2d",
    "LieLift2d": "erlangen.nn.images.lie_lift:LieLift2d",
    "LieResNet": "erlangen.nn.images.lie_resnet:LieResNet",
    "SirenKernel": "erlangen.nn.images.siren_kernel:SirenKernel",
    "draw_samples": "erlangen.nn.images.lie_samples:draw_samples",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
