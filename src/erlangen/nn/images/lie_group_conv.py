"""Convolution over the plane and a matrix group, with a kernel that is a network on the group's coordinates."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from erlangen.groups import Group
from erlangen.nn.images.lie_lift import moved_back, tap_offsets
from erlangen.nn.images.lie_samples import LieSamples, keeps_areas, lie_group, relative_coordinates
from erlangen.nn.images.siren_kernel import Mask, SirenKernel, kernel_mask


class Geometry(NamedTuple):
    """What every layer with the same samples and kernel size shares: the coordinates its kernel is evaluated at
    `[out, in, taps, 2 + dim]`, and the factor of every pair and tap `[out, in, taps]`."""

    coordinates: Tensor
    factor: Tensor


class LieGroupConv2d(nn.Module):
    """Group convolution on R² ⋊ H, H one of SO(2), SL(2), GL+(2), by Monte Carlo over samples of H.

        (f ⋆ k)(x, g) = Σ_h w_h ∫ f(y, h) k(g⁻¹ (y - x), g⁻¹ h) |det h|⁻¹ dy / Σ_h w_h

    `[batch, samples_in, in_channels, H, W] -> [batch, samples_out, out_channels, H, W]`. The kernel is a `SirenKernel` of
    [g⁻¹ y, ξ⁻¹(g⁻¹ h)]: two coordinates of the plane, four of GL+(2), three of SL(2), one of SO(2), by the polar
    decomposition (`erlangen.groups.lie.polar_coordinates`), which covers the whole group where the logarithm does not.
    With stretches of spread 0 the layer is that of SE(2). |det h|⁻¹ dy dh is Haar measure of R² ⋊ H, and w_h the samples'
    weights (`draw_samples(weights="haar")`). Masks as in `LieLift2d`.

    Moving the input by a and both sets of samples by h -> a h moves the output: exactly on functions (`on_function`), up
    to the interpolation of pixels on images.

    `geometry` computes what layers with the same samples share; pass it to `forward` to compute it once a step.

    Raises ValueError for other groups, even kernels, and inputs that do not have the layer's channels or as many planes
    as there are samples.

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
        bias: bool = True,
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
            2 + self.group.dim,
            out_channels * in_channels,
            hidden=hidden,
            omega=omega,
            fan_in=in_channels * kernel_size**2 / 2,
        )
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def geometry(self, samples_out: LieSamples, samples_in: LieSamples | None = None) -> Geometry:
        """Kernel coordinates and factors of two sets of samples (of one, with itself)."""
        samples_in = samples_out if samples_in is None else samples_in
        g, h = samples_out.elements, samples_in.elements
        v = moved_back(tap_offsets(self.kernel_size, g), g)
        relative = relative_coordinates(self.group, g[:, None], h[None])
        pairs = (len(g), len(h), len(v[0]))
        coordinates = torch.cat([v[:, None].expand(*pairs, 2), relative[:, :, None].expand(*pairs, -1)], -1)
        share = samples_in.weights / samples_in.weights.sum() / torch.linalg.det(h).abs()
        factor = kernel_mask(v, self.mask, slope=self.slope)[:, None] * share[:, None]
        return Geometry(coordinates, factor)

    def filters(self, geometry: Geometry) -> Float[Tensor, "planes_out planes_in size size"]:
        """The filter of every pair of planes, samples slower than channels."""
        k = (self.kernel(geometry.coordinates) * geometry.factor[..., None]).unflatten(
            -1, (self.out_channels, self.in_channels)
        )
        k = k.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
        return k.unflatten(-1, (self.kernel_size, self.kernel_size))

    def forward(
        self,
        x: Float[Tensor, "batch samples_in in_channels height width"],
        samples_out: LieSamples,
        samples_in: LieSamples | None = None,
        *,
        geometry: Geometry | None = None,
    ) -> Float[Tensor, "batch samples_out out_channels height width"]:
        planes = len((samples_out if samples_in is None else samples_in).elements)
        if x.shape[1:3] != (planes, self.in_channels):
            raise ValueError(
                f"x: got {x.shape[1]} samples of {x.shape[2]} channels; expected {planes} of {self.in_channels}"
            )
        if geometry is None:
            geometry = self.geometry(samples_out.to(x), None if samples_in is None else samples_in.to(x))
        count = len(samples_out.elements)
        bias = None if self.bias is None else self.bias.repeat(count)
        out = F.conv2d(x.flatten(1, 2), self.filters(geometry), bias, padding=self.kernel_size // 2)
        return out.unflatten(1, (count, self.out_channels))

    def on_function(
        self, f: Callable[[Tensor, Tensor], Tensor], samples_in: LieSamples, nodes: Float[Tensor, "nodes 2"]
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """The layer on a function of plane and group, no pixels: `f` maps points `[..., 2]` and elements `[..., 2, 2]` to
        `[..., in_channels]`; the answer maps them to `[..., out_channels]`.

        With y = x + g v: Σ_h w_h |det g| / |det h| ∫ f(x + g v, h) k(v, g⁻¹ h) dv, summed over `nodes` v.
        """
        h = samples_in.elements
        share = samples_in.weights / samples_in.weights.sum() / torch.linalg.det(h).abs()
        masked = kernel_mask(nodes, self.mask, slope=self.slope)

        def convolved(x: Tensor, g: Tensor) -> Tensor:
            relative = relative_coordinates(self.group, g[..., None, :, :], h)  # [..., samples, dim]
            batch = (*relative.shape[:-1], len(nodes))
            coordinates = [nodes.expand(*batch, 2), relative[..., None, :].expand(*batch, -1)]
            kernel = self.kernel(torch.cat(coordinates, -1)).unflatten(-1, (self.out_channels, self.in_channels))
            at = (x[..., None, :] + nodes @ g.mT)[..., None, :, :].expand(*batch, 2)
            values = f(at, h[:, None].expand(*batch, 2, 2))
            factor = torch.linalg.det(g).abs()[..., None] * share
            out = torch.einsum("...hnoi,...hni,...h,n->...o", kernel, values, factor, masked)
            return out if self.bias is None else out + self.bias

        return convolved

    def extra_repr(self) -> str:
        return (
            f"{self.group.name}, {self.in_channels} -> {self.out_channels}, kernel_size={self.kernel_size}, "
            f"mask={self.mask!r}"
        )
