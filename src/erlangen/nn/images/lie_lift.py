"""Lifting convolution: an image becomes a function on the plane and a matrix group."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from erlangen.groups import Group
from erlangen.nn.images.lie_samples import LieSamples, keeps_areas, lie_group
from erlangen.nn.images.siren_kernel import Mask, SirenKernel, kernel_mask


def tap_offsets(kernel_size: int, like: Tensor) -> Float[Tensor, "taps 2"]:
    """Where the taps of a kernel lie, (x to the right, y up) in units of its radius, row by row."""
    radius = max(1, kernel_size // 2)
    line = torch.arange(kernel_size, dtype=like.dtype, device=like.device) - kernel_size // 2
    y, x = torch.meshgrid(-line / radius, line / radius, indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)


def moved_back(offsets: Tensor, elements: Tensor) -> Float[Tensor, "samples taps 2"]:
    """g⁻¹ y for every sample and tap."""
    return offsets @ torch.linalg.inv(elements).mT


class LieLift2d(nn.Module):
    """Lifting convolution for the group R² ⋊ H, H one of SO(2), SL(2), GL+(2), with a kernel that is a network.

        (f ⋆ k)(x, g) = ∫ f(y) k(g⁻¹ (y - x)) |det g|⁻¹ dy

    `[batch, in_channels, height, width]` and samples g -> `[batch, samples, out_channels, height, width]`: the integral is
    a sum over the taps of a `kernel_size` window, k a `SirenKernel` of two coordinates under a mask ("disc" of radius 1
    for groups that keep areas, "smooth" otherwise, see `kernel_mask`).

    It commutes with an element a of the group when the samples move along: lift(a·f) at (a x, a g) is lift(f) at (x, g).
    On functions that is exact (`on_function`); on images up to the interpolation of pixels; with samples drawn afresh up
    to Monte-Carlo noise.

    Raises ValueError for other groups, even kernels and images without `in_channels` channels.

    Source: Mironenco and Forré, Lie group decompositions for equivariant neural networks, 2024, arXiv:2310.11366.
    """

    def __init__(
        self,
        group: str | Group,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 5,
        *,
        hidden: int = 60,
        omega: float = 10.0,
        mask: Mask | None = None,
        slope: float = 2.0,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels) < 1:
            raise ValueError(f"in_channels, out_channels: got {in_channels}, {out_channels}; both must be at least 1")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size: got {kernel_size}; must be odd and at least 1")
        self.group = lie_group(group)
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.mask: Mask = mask or ("disc" if keeps_areas(self.group) else "smooth")
        self.slope = slope
        self.kernel = SirenKernel(
            2, out_channels * in_channels, hidden=hidden, omega=omega, fan_in=in_channels * kernel_size**2 / 2
        )
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def values(self, v: Float[Tensor, "*points 2"]) -> Float[Tensor, "*points out_channels in_channels"]:
        """The masked kernel at moved-back offsets."""
        values = self.kernel(v) * kernel_mask(v, self.mask, slope=self.slope)[..., None]
        return values.unflatten(-1, (self.out_channels, self.in_channels))

    def filters(self, samples: LieSamples) -> Float[Tensor, "planes in_channels size size"]:
        """The filter of every sample and output channel, the sample slowest."""
        g = samples.elements
        k = (
            self.values(moved_back(tap_offsets(self.kernel_size, g), g))
            / torch.linalg.det(g).abs()[:, None, None, None]
        )
        return k.permute(0, 2, 3, 1).flatten(0, 1).unflatten(-1, (self.kernel_size, self.kernel_size))

    def forward(
        self, x: Float[Tensor, "batch in_channels height width"], samples: LieSamples
    ) -> Float[Tensor, "batch samples out_channels height width"]:
        if x.shape[1] != self.in_channels:
            raise ValueError(f"x: got {x.shape[1]} channels; the layer takes {self.in_channels}")
        samples = samples.to(x)
        count = len(samples.elements)
        out = F.conv2d(x, self.filters(samples), self.bias.repeat(count), padding=self.kernel_size // 2)
        return out.unflatten(1, (count, self.out_channels))

    def on_function(
        self, f: Callable[[Tensor], Tensor], nodes: Float[Tensor, "nodes 2"]
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """The layer on a function of the plane, no pixels: `f` maps `[..., 2] -> [..., in_channels]`; the answer maps
        points `[..., 2]` and elements `[..., 2, 2]` to `[..., out_channels]`.

        With y = x + g v the integral is ∫ f(x + g v) k(v) dv, summed over `nodes` v with the weight of a pixel.
        """
        kernel = self.values(nodes)

        def lifted(x: Tensor, g: Tensor) -> Tensor:
            at = x[..., None, :] + nodes @ g.mT
            return torch.einsum("...ni,noi->...o", f(at), kernel) + self.bias

        return lifted

    def extra_repr(self) -> str:
        return (
            f"{self.group.name}, {self.in_channels} -> {self.out_channels}, kernel_size={self.kernel_size}, "
            f"mask={self.mask!r}"
        )
