"""An ordinary convolutional encoder: what the group-equivariant one is compared with."""

from typing import Any

from torch import nn

from erlangen._registry import encoders
from erlangen.nn.images.conv_encoder import ConvEncoder, stage_widths


@encoders.register("plain_cnn", domain="images")
class PlainCNN(ConvEncoder):
    """Convolutional encoder with no symmetry but (approximate) translation: `[B, C, H, W] -> [B, embedding_dim]`.

    `stages` stages of two convolutions with batch norm and ReLU, `width` channels in the first and twice as many in
    each next one. `in_channels=None` takes the number of channels from the first batch. Raises ValueError for images
    smaller than the kernel.
    """

    def __init__(
        self,
        width: int = 32,
        *,
        in_channels: int | None = None,
        embedding_dim: int = 128,
        stages: int = 3,
        kernel_size: int = 3,
    ) -> None:
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size: got {kernel_size}; allowed are odd sizes")
        options: dict[str, Any] = {"padding": kernel_size // 2, "padding_mode": "replicate", "bias": False}
        parts, previous = [], in_channels
        for channels in stage_widths(width, stages):
            if previous is None:
                first: nn.Module = nn.LazyConv2d(channels, kernel_size, **options)
            else:
                first = nn.Conv2d(previous, channels, kernel_size, **options)
            second = nn.Conv2d(channels, channels, kernel_size, **options)
            norms = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
            parts.append(nn.Sequential(first, norms[0], nn.ReLU(), second, norms[1], nn.ReLU()))
            previous = channels
        head = nn.Linear(previous or 0, embedding_dim)
        super().__init__(parts, head, kernel_size=kernel_size, embedding_dim=embedding_dim)

    @property
    def symmetries(self) -> list[Any]:
        """None is promised."""
        return []
