"""Digits with an easy attribute that goes with the class: what a classifier learns instead of the shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from erlangen.data.array_dataset import ArrayDataset

Bias = Literal["color", "texture", "patch"]
BIASES = ("color", "texture", "patch")


def palette(count: int) -> Float[Tensor, "count 3"]:
    """`count` hues evenly around the circle; the largest channel of each is 1, so that a grey image can be read back."""
    hue = torch.arange(count) / count * 6
    return ((hue[:, None] + torch.tensor([0.0, 4.0, 2.0])).remainder(6) - 3).abs().sub(1).clamp(0, 1)


def give_attribute(
    grey: Float[Tensor, "batch 1 height width"],
    attribute: Int[Tensor, " batch"],
    *,
    bias: Bias = "color",
    count: int = 10,
) -> Float[Tensor, "batch 3 height width"]:
    """Grey images in 0 .. 1 with one of `count` colours, background gratings or places of a bright patch."""
    if bias not in BIASES:
        raise ValueError(f"bias: {bias!r}; allowed: {', '.join(map(repr, BIASES))}")
    height, width = grey.shape[-2:]
    if bias == "color":
        return grey * palette(count).to(grey)[attribute.to(grey.device)][:, :, None, None]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    if bias == "texture":
        angle = torch.pi * attribute[:, None, None] / count
        wave = torch.sin(2 * torch.pi * (x * angle.cos() + y * angle.sin()) / 4)
        return torch.maximum(grey, 0.5 * (0.5 + 0.5 * wave)[:, None].to(grey)).expand(-1, 3, -1, -1).contiguous()
    side = max(1, min(height, width) // 8)
    around = 2 * torch.pi * attribute / count
    top = ((height - side) / 2 * (1 + around.sin())).round()[:, None, None]
    left = ((width - side) / 2 * (1 + around.cos())).round()[:, None, None]
    inside = (y >= top) & (y < top + side) & (x >= left) & (x < left + side)
    return torch.where(inside[:, None].to(grey.device), 1.0, grey).expand(-1, 3, -1, -1).contiguous()


@dataclass(frozen=True)
class BiasedDigits:
    """Images whose attribute is that of their class, but for a share.

    Attributes:
        dataset: its train part is biased; in its test part attribute and class are independent.
        attribute: the number of each image's attribute, in the order of `dataset`; no method may learn from it.
    """

    dataset: ArrayDataset
    attribute: Tensor

    @property
    def conflicting(self) -> float:
        """The share of training images whose attribute is not that of their class."""
        index = self.dataset.splits["train"]
        assert self.dataset.label is not None
        return float((self.attribute[index] != self.dataset.label[index]).double().mean())


def biased_digits(
    digits: ArrayDataset, *, bias: Bias = "color", conflict_ratio: float = 0.0, seed: int = 0
) -> BiasedDigits:
    """Give every image of a grey data set an attribute: training images that of their class, test images a random one.

    Arguments:
        digits: grey images with labels and both parts, as `load("digits")` or `load("mnist")`.
        bias: "color" of the drawing, "texture" behind it, or the place of a bright "patch".
        conflict_ratio: the chance that a training image has the attribute of one of the other classes.

    Raises:
        ValueError: images that are not grey, no labels, fewer than two classes, a ratio outside 0 .. 1.
    """
    if digits.sample_shape[0] != 1 or digits.label is None:
        raise ValueError(
            f"digits: samples {digits.sample_shape}; grey images [1, height, width] with labels are needed"
        )
    classes = int(digits.num_classes or 0)
    if classes < 2:
        raise ValueError(f"digits: {classes} classes; at least 2 are needed")
    if not 0 <= conflict_ratio <= 1:
        raise ValueError(f"conflict_ratio: {conflict_ratio}; allowed: 0 .. 1")
    generator = torch.Generator().manual_seed(seed)
    x, label = digits.tensors()
    other = (label + torch.randint(1, classes, (len(x),), generator=generator)) % classes
    conflict = torch.rand(len(x), generator=generator) < conflict_ratio
    attribute = torch.where(conflict, other, label)
    test = digits.splits["test"]
    attribute[test] = torch.randint(classes, (len(test),), generator=generator)
    images = give_attribute(x, attribute, bias=bias, count=classes)
    named = ArrayDataset(images, label, name=f"{digits.name} by {bias}", num_classes=classes, splits=digits.splits)
    return BiasedDigits(named, attribute)


class Recolor:
    """`(x, generator) -> (x, x2, None)`: the same drawing in another colour, exactly.

    The action of the group that permutes colours: what a translator between biases would have to learn. It undoes the
    colour of `give_attribute`, whose largest channel is 1.

    Arguments:
        count: how many colours there are.
        keep: leave the colour as it is: the control, which shows no second bias.
    """

    def __init__(self, count: int = 10, *, keep: bool = False) -> None:
        if count < 2:
            raise ValueError(f"count: {count}; at least 2 colours are needed")
        self.count, self.keep = count, keep

    def __call__(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, None]:
        if x.ndim != 4 or x.shape[1] != 3:
            raise ValueError(f"x: shape {tuple(x.shape)}; coloured images [batch, 3, height, width] are needed")
        if self.keep:
            return x, x.clone(), None
        grey = x.amax(1, keepdim=True)
        own = (x.flatten(2).sum(2) @ palette(self.count).to(x).T) / palette(self.count).to(x).norm(dim=1)
        step = torch.randint(1, self.count, (len(x),), generator=generator).to(x.device)
        return x, give_attribute(grey, (own.argmax(1) + step) % self.count, count=self.count), None

    def __repr__(self) -> str:
        return f"Recolor({self.count}, keep={self.keep})"
