"""A residual network on the plane and a matrix group: an encoder that is robust to affine maps of its input."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from erlangen._registry import encoders
from erlangen.groups import Group
from erlangen.nn.images.blur_pool import BlurPool2d
from erlangen.nn.images.conv_encoder import smooth_disc
from erlangen.nn.images.lie_group_conv import Geometry, LieGroupConv2d
from erlangen.nn.images.lie_lift import LieLift2d
from erlangen.nn.images.lie_samples import LieSamples, Rotations, Weights, draw_samples, lie_group


def _cases() -> list[Any]:
    from erlangen.groups.symmetry import Case

    def build(samples: int) -> LieResNet:
        net = LieResNet("SO(2)", width=4, samples=samples, in_channels=1, embedding_dim=6, blocks=1, kernel_size=3)
        return net.eval()  # in training mode two calls draw different samples

    return [
        Case(build(4), (smooth_disc(2, 1, 8, 8),), name="SO(2), 4 samples, even size"),
        Case(build(8), (smooth_disc(2, 1, 9, 9),), name="SO(2), 8 samples, odd size"),
    ]


class SampleNorm(nn.Module):
    """Layer normalisation over channels and pixels, each image and group sample on its own; scale and shift a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(
        self, x: Float[Tensor, "batch samples channels height width"]
    ) -> Float[Tensor, "batch samples channels height width"]:
        count = x.shape[1]
        out = F.group_norm(x.flatten(1, 2), count, self.weight.repeat(count), self.bias.repeat(count))
        return out.unflatten(1, (count, -1))


class LieBlock(nn.Module):
    """x + norm(conv(gelu(norm(conv(x))))): input and output on the same samples, without which adding makes no sense."""

    def __init__(self, group: str | Group, channels: int, kernel_size: int, **options: Any) -> None:
        super().__init__()
        self.first = LieGroupConv2d(group, channels, channels, kernel_size, bias=False, **options)
        self.second = LieGroupConv2d(group, channels, channels, kernel_size, bias=False, **options)
        self.norms = nn.ModuleList([SampleNorm(channels), SampleNorm(channels)])

    def forward(self, x: Tensor, samples: LieSamples, geometry: Geometry) -> Tensor:
        inner = F.gelu(self.norms[0](self.first(x, samples, geometry=geometry)))
        return F.gelu(x + self.norms[1](self.second(inner, samples, geometry=geometry)))


@encoders.register("lie_resnet", cases=_cases, domain="images", paper="arXiv:2310.11366")
class LieResNet(nn.Module):
    """Encoder `[B, C, H, W] -> [B, embedding_dim]` of convolutions over R² ⋊ H, H = GL+(2), SL(2) or SO(2).

    A lifting convolution, halving, a group convolution, `blocks` residual blocks with a halving between them; then the
    invariant head: 4 `width` linear combinations of the channels, the maximum of each over samples and pixels, batch
    normalisation (maxima differ little between images beside their mean), a linear map. Kernels are networks
    (`SirenKernel`); all layers share one set of samples of the group, so that coordinates and masks are computed once a
    call and every kernel network runs once a call, whatever the batch.

    Samples: in training mode they are drawn anew at every call from torch's generator; in evaluation mode the same
    `samples` elements (drawn at construction from `seed`) serve every call, so that an embedding is a function of its
    image. `forward(x, samples=...)` takes any others. (Released code draws anew at test time too: its predictions
    change from call to call.)

    What holds: SL(2) and GL+(2) exactly for functions and transported samples (see `LieGroupConv2d`), approximately for
    pixels and few samples. SO(2) with a multiple of four evenly spaced samples: turns by 90 degrees exactly.

    Raises ValueError for another group, no samples, and images with other channels than `in_channels`.

    Source: Mironenco and Forré, Lie group decompositions for equivariant neural networks, 2024, arXiv:2310.11366; its
    width is 40 and samples 10.
    """

    elements: Tensor
    sample_weights: Tensor

    def __init__(
        self,
        group: str | Group = "SL(2)",
        *,
        width: int = 40,
        in_channels: int = 1,
        embedding_dim: int = 128,
        samples: int = 10,
        blocks: int = 2,
        kernel_size: int = 5,
        spread: float = math.sqrt(0.1) / 2,
        rotations: Rotations = "equidistant",
        weights: Weights = "none",
        hidden: int = 60,
        omega: float = 10.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(width, in_channels, embedding_dim, blocks) < 1:
            raise ValueError(
                f"width, in_channels, embedding_dim, blocks: got {width}, {in_channels}, {embedding_dim}, {blocks}; all "
                "must be at least 1"
            )
        self.group = lie_group(group)
        self.samples, self.spread, self.rotations, self.weights = samples, spread, rotations, weights
        self.embedding_dim = embedding_dim
        fixed = self._draw(torch.Generator().manual_seed(seed))
        self.register_buffer("elements", fixed.elements)
        self.register_buffer("sample_weights", fixed.weights)
        options: dict[str, Any] = {"hidden": hidden, "omega": omega}
        self.lift = LieLift2d(self.group, in_channels, width, kernel_size, **options)
        self.conv = LieGroupConv2d(self.group, width, width, kernel_size, bias=False, **options)
        self.norms = nn.ModuleList([SampleNorm(width), SampleNorm(width)])
        self.stages = nn.ModuleList(LieBlock(self.group, width, kernel_size, **options) for _ in range(blocks))
        self.pool = BlurPool2d()
        self.project = nn.Linear(width, 4 * width, bias=False)
        self.pooled_norm = nn.BatchNorm1d(4 * width)
        self.head = nn.Linear(4 * width, embedding_dim)
        self.init_arguments = {**getattr(self, "init_arguments", {}), "group": self.group.name}

    @property
    def layer_names(self) -> list[str]:
        """Names of the submodules worth looking at, input side first."""
        return ["lift", "conv", *(f"stages.{index}" for index in range(len(self.stages))), "head"]

    def blocks(self) -> dict[str, nn.Module]:
        """The submodules worth looking at, by name."""
        return {name: self.get_submodule(name) for name in self.layer_names}

    @property
    def symmetries(self) -> list[Any]:
        """Quarter turns, where the samples are rotations closed under them (in training mode: for each draw)."""
        from erlangen.groups.symmetry import Symmetry

        if self.group.name != "SO(2)" or self.samples % 4 or self.rotations != "equidistant":
            return []
        return [Symmetry("C4", input="image", output="invariant")]

    def _draw(self, generator: torch.Generator | None) -> LieSamples:
        return draw_samples(
            self.group,
            self.samples,
            spread=self.spread,
            rotations=self.rotations,
            weights=self.weights,
            generator=generator,
            dtype=torch.float64,
        )

    def current_samples(self, generator: torch.Generator | None = None) -> LieSamples:
        """Fresh samples in training mode, the fixed ones in evaluation mode."""
        return self._draw(generator) if self.training else LieSamples(self.elements, self.sample_weights)

    def features(
        self, x: Float[Tensor, "batch channels height width"], samples: LieSamples | None = None
    ) -> Float[Tensor, "batch samples planes _ _"]:
        """The last feature map, on the plane and the samples."""
        samples = (self.current_samples() if samples is None else samples).to(x)
        geometry = self.conv.geometry(samples)
        x = self._halved(F.gelu(self.norms[0](self.lift(x, samples))))
        x = F.gelu(self.norms[1](self.conv(x, samples, geometry=geometry)))
        for index, stage in enumerate(self.stages):
            if index:
                x = self._halved(x)
            x = stage(x, samples, geometry)
        return x

    def _halved(self, x: Tensor) -> Tensor:
        return self.pool(x.flatten(1, 2)).unflatten(1, x.shape[1:3])

    def forward(
        self, x: Float[Tensor, "batch channels height width"], samples: LieSamples | None = None
    ) -> Float[Tensor, "batch embedding"]:
        features = self.features(x, samples)
        pooled = torch.einsum("bschw,oc->bsohw", features, self.project.weight).amax((1, 3, 4))
        return self.head(F.gelu(self.pooled_norm(pooled)))
