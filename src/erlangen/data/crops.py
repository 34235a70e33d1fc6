"""Two random crops of an image, with flips, colour and blur of their own: the views of self-supervised learning."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)


class Crops:
    """`(x, generator) -> (x1, x2, None)`: two views that agree in what they show and in little else.

    Every view is a crop of random area and aspect ratio, resampled to `size` pixels, then with probability `flip`
    mirrored, then brighter or darker, of more or less contrast, of more or less saturation, with probability `grayscale`
    grey and with probability `blur` blurred. All images of a batch are treated at once and each by draws of its own.
    Works on any number of channels: grey is the luma of three channels and the mean of any other number of them; the
    hue needs three. Values are not clamped: nothing is known of their range. A crop larger than the output is sampled
    bilinearly, without averaging.

    The result depends on x and the generator's state alone.

    Arguments:
        size: pixels a side of the crops; None keeps the shape of the images.
        area: the smallest and the largest share of the image that a crop shows.
        ratio: the smallest and the largest ratio of its width to its height.
        flip, grayscale, blur: probabilities.
        brightness, contrast, saturation: factors are drawn from 1 - value to 1 + value.
        hue: turns about the grey axis, drawn from -value to value full turns.
        sigma: the smallest and the largest width of the blur, in pixels.
        first: what x1 shows: a crop, or the whole image with a flip at most, as the teacher of OBoW sees it.
        crops: how many crops x2 holds: `[n, c, h, w]` for one, `[n, crops, c, h, w]` for more.

    Source: the recipe of T. Chen, S. Kornblith, M. Norouzi, G. Hinton, A simple framework for contrastive learning of
    visual representations, 2020, arXiv:2002.05709, with the saturation and the hue as linear maps of the channels.

    Raises:
        ValueError: an argument out of its range, or images of another number of channels with `hue`.
    """

    def __init__(
        self,
        size: int | None = None,
        *,
        area: tuple[float, float] = (0.2, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.0,
        grayscale: float = 0.2,
        blur: float = 0.5,
        sigma: tuple[float, float] = (0.1, 1.0),
        first: Literal["crop", "whole"] = "crop",
        crops: int = 1,
    ) -> None:
        for name, value in (("flip", flip), ("grayscale", grayscale), ("blur", blur)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}: {value}; a probability is between 0 and 1")
        strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
        for name, value in (*strengths.items(), ("hue", 2 * hue)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}: {value}; allowed: 0 to 1 (hue: 0 to 0.5)")
        if not 0 < area[0] <= area[1] <= 1:
            raise ValueError(f"area: {area}; allowed: 0 < smallest <= largest <= 1")
        for name, (low, high) in (("ratio", ratio), ("sigma", sigma)):
            if not 0 < low <= high < math.inf:
                raise ValueError(f"{name}: {(low, high)}; allowed: 0 < smallest <= largest")
        if first not in ("crop", "whole"):
            raise ValueError(f"first: {first!r}; allowed: 'crop', 'whole'")
        if crops < 1 or (size is not None and size < 1):
            raise ValueError(f"size, crops: {size}, {crops}; both must be at least 1")
        self.size, self.area, self.ratio, self.flip, self.strengths = size, area, ratio, flip, strengths
        self.hue, self.grayscale, self.blur, self.sigma = hue, grayscale, blur, sigma
        self.first, self.crops = first, crops

    def __call__(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, None]:
        if x.ndim != 4:
            raise ValueError(f"x: shape {tuple(x.shape)}; crops need images [batch, channels, height, width]")
        if not x.is_floating_point():
            raise TypeError(f"x: {x.dtype}; crops need floating point images")
        if self.hue and x.shape[1] != 3:
            raise ValueError(f"x: {x.shape[1]} channels; hue={self.hue} needs 3")
        one = self._flipped(x, generator) if self.first == "whole" else self.view(x, generator)
        if self.crops == 1:
            return one, self.view(x, generator), None
        return one, self.view(x.repeat_interleave(self.crops, 0), generator).unflatten(0, (len(x), -1)), None

    def view(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """One crop of every image, `[n, c, h, w] -> [n, c, size, size]`."""
        out = self._colour(self._crop(x, generator), generator)
        return _blurred(out, self.blur, self.sigma, generator) if self.blur else out

    def _crop(self, x: Tensor, generator: torch.Generator) -> Tensor:
        n, c = x.shape[:2]
        area = _uniform(x, generator, *self.area)
        ratio = (
            _uniform(x, generator, math.log(self.ratio[0]), math.log(self.ratio[1])).exp() * x.shape[-2] / x.shape[-1]
        )
        width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
        theta = x.new_zeros(n, 2, 3)
        theta[:, 0, 0] = width * (1 - 2 * (_uniform(x, generator) < self.flip).to(x))
        theta[:, 1, 1] = height
        theta[:, 0, 2] = _uniform(x, generator, -1.0, 1.0) * (1 - width)
        theta[:, 1, 2] = _uniform(x, generator, -1.0, 1.0) * (1 - height)
        shape = [n, c, *(x.shape[-2:] if self.size is None else (self.size, self.size))]
        grid = F.affine_grid(theta, shape, align_corners=False)
        return F.grid_sample(x, grid, padding_mode="border", align_corners=False)

    def _flipped(self, x: Tensor, generator: torch.Generator) -> Tensor:
        chosen = (_uniform(x, generator) < self.flip).reshape(-1, 1, 1, 1)
        return torch.where(chosen, x.flip(-1), x)

    def _colour(self, x: Tensor, generator: torch.Generator) -> Tensor:
        def factor(name: str) -> Tensor:
            strength = self.strengths[name]
            return _uniform(x, generator, 1 - strength, 1 + strength).reshape(-1, 1, 1, 1)

        x = x * factor("brightness")
        mean = _grey(x).mean((-2, -1), keepdim=True)
        x = mean + (x - mean) * factor("contrast")
        if x.shape[1] == 1:  # grey already
            return x
        if self.hue:
            x = torch.einsum("nij,njhw->nihw", _turn(_uniform(x, generator, -self.hue, self.hue) * 2 * math.pi), x)
        keep = factor("saturation") * (_uniform(x, generator) >= self.grayscale).reshape(-1, 1, 1, 1)
        grey = _grey(x)
        return grey + (x - grey) * keep

    def __repr__(self) -> str:
        numbers = ", ".join(f"{k}={v:g}" for k, v in self.strengths.items())
        return (
            f"Crops({self.size}, area={self.area}, ratio=({self.ratio[0]:.4g}, {self.ratio[1]:.4g}), flip={self.flip:g}, "
            f"{numbers}, hue={self.hue:g}, grayscale={self.grayscale:g}, blur={self.blur:g}, sigma={self.sigma}, "
            f"first={self.first!r}, crops={self.crops})"
        )


def _uniform(x: Tensor, generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> Tensor:
    """One number for each image."""
    return (low + (high - low) * torch.rand(len(x), generator=generator, device=generator.device)).to(x)


def _grey(x: Tensor) -> Tensor:
    if x.shape[1] != len(LUMA):
        return x.mean(1, keepdim=True)
    return (x * x.new_tensor(LUMA).reshape(1, -1, 1, 1)).sum(1, keepdim=True)


def _turn(angle: Tensor) -> Tensor:
    """Rotations of three channels about the axis (1, 1, 1), which keep grey: `[n] -> [n, 3, 3]`."""
    cross = angle.new_tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    sine, cosine = angle.sin()[:, None, None], angle.cos()[:, None, None]
    return torch.eye(3).to(angle) * cosine + (1 - cosine) / 3 + sine * cross


def _blurred(x: Tensor, share: float, sigma: tuple[float, float], generator: torch.Generator) -> Tensor:
    """A separable Gaussian of each image's own width, on a share of the images."""
    n, c, height, width = x.shape
    reach = min(math.ceil(3 * sigma[1]), height - 1, width - 1)
    chosen = _uniform(x, generator) < share
    each = _uniform(x, generator, *sigma)
    if reach < 1:
        return x
    offset = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (offset / each[:, None]).square())
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)[:, None]
    flat = F.pad(x.reshape(1, n * c, height, width), (reach,) * 4, mode="reflect")
    flat = F.conv2d(F.conv2d(flat, kernel[:, :, None], groups=n * c), kernel[..., None], groups=n * c)
    return torch.where(chosen.reshape(-1, 1, 1, 1), flat.reshape(x.shape), x)
