"""Network in network: few wide blocks of one spatial and two pointwise convolutions."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from erlangen._registry import encoders

SMALLEST = 2


@encoders.register("nin", domain="images")
class NIN(nn.Module):
    """`blocks` blocks of three convolutions with batch norm and ReLU: `[B, C, H, W] -> [B, embedding_dim]`.

    The first block has filters of 5, 1 and 1 pixels with `width`, 5/6 `width` and `width` / 2 channels and ends in a
    maximum over 3 x 3 with stride 2; the second has 5, 1, 1 with `width` channels and ends in a mean over 3 x 3 with
    stride 2; the further ones have 3, 1, 1 with `width` channels and keep the size. No halving goes below 2 pixels a
    side. Averaged at the end and mapped linearly to the embedding; `embedding_dim=None` leaves the map out.

    Source: M. Lin, Q. Chen, S. Yan, Network in network, 2013, arXiv:1312.4400, with the blocks of RotNet (S. Gidaris, P.
    Singh, N. Komodakis, 2018, arXiv:1803.07728): 192 channels, 3 to 5 blocks; its best features are the second block's.

    Arguments:
        width: channels.
        in_channels: of the images; None takes them from the first batch.
        embedding_dim: None for `width`, without a map.
        blocks: at least 2.
    """

    def __init__(
        self, width: int = 192, *, in_channels: int | None = None, embedding_dim: int | None = None, blocks: int = 4
    ) -> None:
        super().__init__()
        if width < 2 or blocks < 2:
            raise ValueError(f"width, blocks: got {width}, {blocks}; both must be at least 2")
        if embedding_dim is not None and embedding_dim < 1:
            raise ValueError(f"embedding_dim: got {embedding_dim}; at least 1 is needed")
        layers, last = [], in_channels
        for index in range(blocks):
            channels = [width, max(1, 5 * width // 6), max(1, width // 2)] if index == 0 else [width] * 3
            layers.append(_block(last, channels, 5 if index < 2 else 3))
            last = channels[-1]
        self.stages = nn.ModuleList(layers)
        self.pools = nn.ModuleList([nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1)])
        self.embedding_dim = width if embedding_dim is None else embedding_dim
        self.head = nn.Identity() if embedding_dim is None else nn.Linear(width, embedding_dim)

    @property
    def layer_names(self) -> list[str]:
        """Names of the blocks, input side first."""
        return [f"stages.{index}" for index in range(len(self.stages))]

    @property
    def symmetries(self) -> list[Any]:
        """None is promised."""
        return []

    def features(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features _ _"]:
        """The feature maps of the last block, before averaging."""
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index < len(self.pools) and min(x.shape[-2:]) >= 2 * SMALLEST:
                x = self.pools[index](x)
        return x

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch embedding"]:
        return self.head(self.features(x).mean((-2, -1)))


def _block(inputs: int | None, channels: list[int], side: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for size, outputs in zip((side, 1, 1), channels, strict=True):
        options: dict[str, Any] = {"padding": size // 2, "bias": False}
        conv = (
            nn.LazyConv2d(outputs, size, **options) if inputs is None else nn.Conv2d(inputs, outputs, size, **options)
        )
        parts += [conv, nn.BatchNorm2d(outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*parts)
