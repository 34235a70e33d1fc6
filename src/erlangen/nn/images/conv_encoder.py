"""The frame that the plain and the group-equivariant encoder share: stages, halvings, pooling, head."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from erlangen.nn.images.blur_pool import BlurPool2d

SMALLEST_MAP = 4


class ConvEncoder(nn.Module):
    """Image -> embedding: stages of convolutions with a `BlurPool2d` between them, global average, head.

    The resolution is halved between two stages as long as at least 4 pixels a side are left, so that the same network
    takes 8 x 8 digits and 224 x 224 photographs. `stages` end at the same resolution they start with; `head` takes the
    averaged features `[batch, channels]`.
    """

    def __init__(self, stages: Sequence[nn.Module], head: nn.Module, *, kernel_size: int, embedding_dim: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.pool = BlurPool2d()
        self.head = head
        self.kernel_size = kernel_size
        self.embedding_dim = embedding_dim

    @property
    def layer_names(self) -> list[str]:
        """Names of the submodules worth looking at, input side first."""
        return [f"stages.{index}" for index in range(len(self.stages))] + ["head"]

    def blocks(self) -> dict[str, nn.Module]:
        """The submodules worth looking at, by name."""
        return {name: self.get_submodule(name) for name in self.layer_names}

    @property
    def num_parameters(self) -> int:
        """Learned numbers; without those of layers that wait for their first input."""
        return sum(p.numel() for p in self.parameters() if not isinstance(p, UninitializedParameter))

    def features(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features _ _"]:
        """The feature maps of the last stage, before averaging."""
        if min(x.shape[-2:]) < self.kernel_size:
            raise ValueError(
                f"x: images of {x.shape[-2]} x {x.shape[-1]} are smaller than the {self.kernel_size} x {self.kernel_size} "
                "kernel; resize them or choose a smaller kernel_size"
            )
        for index, stage in enumerate(self.stages):
            if index and min(x.shape[-2:]) >= 2 * SMALLEST_MAP - 1:
                x = self.pool(x)
            x = stage(x)
        return x

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch embedding"]:
        return self.head(self.average(self.features(x)))

    def average(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels"]:
        """Features -> one number a channel."""
        return x.mean((-2, -1))


def stage_widths(width: int, stages: int) -> list[int]:
    """Channels of each stage: doubled from one to the next."""
    if width < 1 or stages < 1:
        raise ValueError(f"width, stages: got {width}, {stages}; both must be at least 1")
    return [width * 2**index for index in range(stages)]


def smooth_disc(*shape: int, seed: int = 0, sigma: float = 1.5) -> Float[Tensor, "batch channels height width"]:
    """Random images blurred at the scale `sigma` pixels inside a soft disc: what a rotation moves with little loss."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(*shape, generator=generator, dtype=torch.float64)
    y = torch.linspace(-1, 1, shape[-2], dtype=torch.float64)[:, None]
    x = torch.linspace(-1, 1, shape[-1], dtype=torch.float64)
    frequency = torch.fft.fftfreq(shape[-2], dtype=torch.float64)[:, None] ** 2
    frequency = frequency + torch.fft.fftfreq(shape[-1], dtype=torch.float64) ** 2
    smooth = torch.fft.ifft2(torch.fft.fft2(noise) * torch.exp(-2 * (torch.pi * sigma) ** 2 * frequency)).real
    window = torch.sigmoid((0.75 - torch.hypot(x, y)) * 12)
    return (smooth / smooth.std() * window).float()
