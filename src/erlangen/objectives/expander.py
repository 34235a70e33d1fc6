"""The head that VICReg trains through and throws away."""

from torch import nn


def expander(in_features: int, width: int, *, layers: int = 3) -> nn.Sequential:
    """(Linear, batch norm, ReLU) times layers - 1, then a Linear without bias, all of one width.

    Raises:
        ValueError: `width` or `layers` below 1.
    """
    if width < 1 or layers < 1:
        raise ValueError(f"expander: width {width}, layers {layers}; both must be at least 1")
    blocks: list[nn.Module] = []
    for _ in range(layers - 1):
        blocks += [nn.Linear(in_features, width), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
        in_features = width
    return nn.Sequential(*blocks, nn.Linear(in_features, width, bias=False))
