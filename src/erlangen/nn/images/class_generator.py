"""A network that draws an image of a class from noise."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class ClassGenerator(nn.Module):
    """`(noise, class) -> image` with values between `low` and `high`.

    Noise and a vector of the class are mapped to `4 width` channels at a quarter of the size, then twice enlarged by
    nearest neighbours and convolved, without the checkers of transposed convolutions. A size that 4 does not divide is
    cut from the next one that it does.

    Arguments:
        classes: at least 1.
        shape: of an image, `(channels, height, width)`.
        noise: numbers drawn for each image.
        width: channels of the last hidden layer.
        low, high: the range of the pixels.
    """

    def __init__(
        self,
        classes: int,
        shape: tuple[int, int, int],
        *,
        noise: int = 32,
        width: int = 16,
        low: float | int = 0.0,
        high: float | int = 1.0,
    ) -> None:
        super().__init__()
        if min(classes, noise, width, *shape) < 1 or not low < high:
            raise ValueError(
                f"classes, shape, noise, width, low, high: {classes}, {shape}, {noise}, {width}, {low}, {high}; "
                "whole numbers of at least 1, and low below high"
            )
        self.classes, self.shape, self.noise, self.width, self.low, self.high = classes, shape, noise, width, low, high
        self.base = (-(-shape[1] // 4), -(-shape[2] // 4))
        self.told = nn.Embedding(classes, noise)
        self.first = nn.Sequential(
            nn.Linear(2 * noise, 4 * width * self.base[0] * self.base[1]),
            nn.Unflatten(1, (4 * width, *self.base)),
            nn.BatchNorm2d(4 * width),
            nn.ReLU(),
        )
        larger = []
        for before, after in ((4 * width, 2 * width), (2 * width, width)):
            conv = nn.Conv2d(before, after, 3, padding=1, bias=False)
            larger += [nn.Upsample(scale_factor=2), conv, nn.BatchNorm2d(after), nn.ReLU()]
        self.rest = nn.Sequential(*larger, nn.Conv2d(width, shape[0], 3, padding=1))

    def forward(
        self, noise: Float[Tensor, "batch noise"], label: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch channels height width"]:
        drawn = self.rest(self.first(torch.cat([noise, self.told(label)], 1)))
        _, height, width = self.shape
        return self.low + (self.high - self.low) * drawn[:, :, :height, :width].sigmoid()

    def sample(
        self, label: Int[Tensor, " batch"], *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch channels height width"]:
        """An image of each class in `label`, from noise that is drawn here."""
        if bool(((label < 0) | (label >= self.classes)).any()):
            raise ValueError(f"label: allowed are the classes 0 .. {self.classes - 1}")
        noise = torch.randn(len(label), self.noise, generator=generator).to(self.told.weight)
        return self(noise, label)

    def extra_repr(self) -> str:
        return f"classes={self.classes}, shape={self.shape}, noise={self.noise}, width={self.width}"
