"""Objects under coloured light over a coloured floor: a rotation and two hues tell one view from another."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.data.batch import PairBatch
from erlangen.data.objects3d import RotatedObjects
from erlangen.data.validate import as_tensor

FLOOR = 0.4  # how bright the floor is


def hue_color(hue: Float[Tensor, " batch"]) -> Float[Tensor, "batch 3"]:
    """The full colours of hues counted in turns: 0 red, 1/3 green, 2/3 blue."""
    around = (6 * hue.remainder(1))[:, None] + hue.new_tensor([0.0, 4.0, 2.0])
    return (around.remainder(6) - 3).abs().sub(1).clamp(0, 1)


class TintedObjects(RotatedObjects):
    """`RotatedObjects` whose every sample has a light and a floor of its own hue: images of three channels.

    A pair's g is `(rotation, [light, floor])` with the second view's hues less the first one's, which is what `SIE` with
    `extra=2` is told: the rotation and colour task of Q. Garrido, L. Najman, Y. LeCun, 2023, arXiv:2302.10283. A hue is
    a number in 0 .. 1, as there: hues on either side of red differ by nearly 1.

    `TintedObjects.load(...)` and `from_meshes(...)` render and tint.

    Arguments:
        x: grey images of objects on black, which is floor; images in colour where the hues are given.
        light, floor: hues of each sample; drawn with `seed` if left out.
        arguments: those of `RotatedObjects`.

    Raises:
        ValueError: images that are not grey, or one of the hues without the other.
    """

    def __init__(self, x: Any, *, light: Any = None, floor: Any = None, **arguments: Any) -> None:
        if (light is None) != (floor is None):
            raise ValueError("light, floor: give the hues of both or of neither")
        x = as_tensor(x)
        if light is None:
            if x.ndim != 4 or x.shape[1] != 1:
                raise ValueError(f"x: shape {tuple(x.shape)}; grey images [samples, 1, height, width] are needed")
            generator = torch.Generator().manual_seed(int(arguments.get("seed", 0)))
            light, floor = torch.rand(2, len(x), generator=generator)
            grey = x / 255 if x.dtype == torch.uint8 else x.float()
            lit = grey * hue_color(light)[:, :, None, None]
            x = torch.where(grey > 0, lit, FLOOR * hue_color(floor)[:, :, None, None])
        super().__init__(x, **arguments)
        self.light, self.floor = as_tensor(light).float(), as_tensor(floor).float()

    def subset(self, index: Any, *, name: str | None = None) -> TintedObjects:
        """The samples at `index` as a data set that is both its own train and test part."""
        plain = super().subset(index, name=name)
        index = as_tensor(index, "index").to(torch.int64)
        return TintedObjects(
            plain.x,
            light=self.light[index],
            floor=self.floor[index],
            rotation=plain.rotation,
            object=plain.object,
            convention=plain.convention,
            label=plain.label,
            name=plain.name,
            class_names=plain.class_names,
            num_classes=plain.num_classes,
            splits={},
        )

    def fingerprint(self) -> str:
        """SHA-256 over everything that `RotatedObjects` names, and the hues."""
        digest = hashlib.sha256(super().fingerprint().encode())
        for hue in (self.light, self.floor):
            digest.update(hue.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def hues(self, first: Tensor, second: Tensor) -> Float[Tensor, "pairs 2"]:
        """How much the hues of light and floor of samples `second` are above those of samples `first`."""
        return torch.stack([hue[second] - hue[first] for hue in (self.light, self.floor)], 1)

    def pairs(self, indices: Any, generator: torch.Generator) -> PairBatch:
        """Samples, for each another view of its object, and the rotation and the change of hues between."""
        first = as_tensor(indices, "indices").to(torch.int64)
        second = self.partners(first, generator)
        (x, label), (x2, _) = self.tensors(first), self.tensors(second)
        g = (self.between(first, second), self.hues(first, second))
        return PairBatch(x=x, x2=x2, g=g, label=label, index=first)
