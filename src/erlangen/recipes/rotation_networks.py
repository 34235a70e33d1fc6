"""What the recipes on rotation representations share: networks side by side, and the errors of what they say."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from erlangen.groups import rotations
from erlangen.recipes.claim import Claim

REPRESENTATIONS: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {
    "6d": (6, rotations.from_6d),
    "5d": (5, rotations.from_5d),
    "9d": (9, rotations.from_9d),
    "quaternion": (4, rotations.from_quaternion),
    "axis_angle": (3, rotations.from_axis_angle),
    "euler": (3, lambda x: rotations.from_euler(x, "XYZ")),
}
CONTINUOUS = ("6d", "5d", "9d")
BROKEN = ("quaternion", "axis_angle", "euler")
WORDS = {
    "6d": "6D",
    "5d": "5D",
    "9d": "9D (SVD)",
    "quaternion": "quaternion",
    "axis_angle": "axis-angle",
    "euler": "Euler",
}


class StackedMLP(nn.Module):
    """`count` perceptrons of one shape with weights of their own, side by side in batched products.

    `[count, batch, in] -> [count, batch, out]`. Trained by Adam on the sum of their losses, each is trained as alone.
    """

    def __init__(self, count: int, sizes: list[int], generator: torch.Generator) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inner, outer in itertools.pairwise(sizes):
            bound = 1 / math.sqrt(inner)
            for store, shape in ((self.weights, (count, inner, outer)), (self.biases, (count, 1, outer))):
                store.append(nn.Parameter((2 * torch.rand(shape, generator=generator) - 1) * bound))

    def forward(self, x: Tensor) -> Tensor:
        last = len(self.weights) - 1
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            if index < last:
                x = nn.functional.leaky_relu(x)
        return x


def decoded(numbers: Tensor) -> dict[str, Tensor]:
    """Outputs `[representations, batch, 9]` -> rotations `[batch, 3, 3]` by name; each uses as many as it has."""
    return {name: make(numbers[index, :, :size]) for index, (name, (size, make)) in enumerate(REPRESENTATIONS.items())}


def summed_loss(made: Mapping[str, Tensor], target: Tensor) -> Tensor:
    """The sum over networks of the mean squared Frobenius distance."""
    return torch.stack([(m - target).square().sum((-2, -1)).mean() for m in made.values()]).sum()


def errors(made: Mapping[str, Tensor], target: Tensor) -> dict[str, float]:
    """Mean, 99.9 % quantile and maximum of the geodesic error in degrees, and the others' means over 6D's."""
    numbers: dict[str, float] = {}
    for name, m in made.items():
        error = torch.rad2deg(rotations.geodesic_distance(m, target)).double()
        numbers[f"{name}.mean"] = float(error.mean())
        numbers[f"{name}.q999"] = float(error.quantile(0.999))
        numbers[f"{name}.max"] = float(error.max())
    for name in BROKEN:
        numbers[f"{name}.over_6d"] = numbers[f"{name}.mean"] / numbers["6d.mean"]
    return numbers


def claims(largest: float, *, ratio: float) -> list[Claim]:
    """Continuous representations err by at most `largest` degrees anywhere, the others by over 150 somewhere, and by
    `ratio` times as much on average."""
    return [
        *(
            Claim(
                f"{WORDS[name]}: the largest error on test rotations is below {largest:g}°",
                f"{name}.max",
                "below",
                largest,
            )
            for name in CONTINUOUS
        ),
        *(
            Claim(f"{WORDS[name]}: somewhere the error exceeds 150°", f"{name}.max", "above", 150.0, control=True)
            for name in BROKEN
        ),
        *(
            Claim(f"{WORDS[name]}'s mean error is over {ratio:g} times 6D's", f"{name}.over_6d", "above", ratio)
            for name in BROKEN
        ),
    ]
