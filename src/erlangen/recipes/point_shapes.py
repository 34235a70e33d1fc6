"""Point clouds with class labels: ModelNet10 as points drawn from its voxels, and solids drawn from formulas."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from erlangen.data.named import roots
from erlangen.recipes.recipe import Budget

POINTS = 64
FILE = "modelnet10_voxels/modelnet10_voxels.npz"


@dataclass(frozen=True)
class Clouds:
    """Upright clouds `[shapes, points, 3]`, centred, with a root mean square radius of 1, and their classes."""

    train: Tensor
    train_label: Tensor
    test: Tensor
    test_label: Tensor
    num_classes: int


def clouds(budget: Budget, seed: int) -> Clouds:
    """ModelNet10: 1,000 training shapes (all at "full") and 400 test shapes; generated solids at "smoke".

    Raises:
        FileNotFoundError: the file is in none of the data folders.
    """
    if budget == "smoke":
        x, label = solids(240, torch.Generator().manual_seed(seed))
        return Clouds(x[:160], label[:160], x[160:], label[160:], 4)
    path = next((root / FILE for root in roots() if (root / FILE).is_file()), None)
    if path is None:
        raise FileNotFoundError(f"data: {FILE} is in none of {', '.join(map(str, roots()))}; set ERLANGEN_DATA")
    generator = torch.Generator().manual_seed(seed)
    shapes = {"train": 1_000 if budget == "laptop" else 4_000, "test": 400 if budget == "laptop" else 1_000}
    parts = []
    with np.load(path, allow_pickle=False) as file:
        for part, wanted in shapes.items():
            packed, label = file[f"{part}_voxels_packed"], torch.from_numpy(file[f"{part}_labels"].astype(np.int64))
            chosen = [i for i in torch.randperm(len(label), generator=generator).tolist() if packed[i].any()][:wanted]
            x = torch.stack([_surface(packed[i], generator) for i in chosen])
            parts += [x, label[chosen]]
    return Clouds(parts[0], parts[1], parts[2], parts[3], 10)


def solids(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rods, plates, bent rods and rods with a ball at one end, all upright, with random proportions."""
    label = torch.arange(count) % 4
    stretch = 0.7 + 0.6 * torch.rand(count, 3, generator=generator)
    x = torch.rand(count, POINTS, 3, generator=generator) * 2 - 1
    sizes = torch.tensor([[0.2, 0.3, 1.0], [1.0, 0.8, 0.1], [0.2, 0.3, 1.0], [0.15, 0.2, 1.0]])
    x = x * (sizes[label] * stretch)[:, None]
    height = x[..., 2]
    x[..., 0] += torch.where((label == 2)[:, None], height.square(), 0)
    x[..., :2] *= torch.where((label == 3)[:, None] & (height > 0.4), 4.0, 1.0)[..., None]
    return _normalised(x), label


def random_rotations(count: int, generator: torch.Generator) -> Tensor:
    """Uniform rotations `[count, 3, 3]`."""
    from erlangen.groups import SO

    return SO(3).sample((count,), generator=generator)


def _surface(packed: np.ndarray, generator: torch.Generator) -> Tensor:
    """Points in random filled voxels, each at a random place inside."""
    filled = np.argwhere(np.unpackbits(packed)[:27_000].reshape(30, 30, 30))
    rows = torch.randint(len(filled), (POINTS,), generator=generator)
    return _normalised(torch.from_numpy(filled)[rows].float() + torch.rand(POINTS, 3, generator=generator))


def _normalised(x: Tensor) -> Tensor:
    x = x - x.mean(-2, keepdim=True)
    return x / x.square().sum((-2, -1), keepdim=True).sqrt() * math.sqrt(x.shape[-2])


EIGHT = ("cone", "torus", "box", "cylinder", "ellipsoid", "pyramid", "left helix", "right helix")


def eight_shapes(count: int, generator: torch.Generator, points: int = 256) -> tuple[Tensor, Tensor]:
    """Noisy points on eight kinds of upright solids `[count, points, 3]`, stretched at random, and their classes.

    The two helices are mirror images: no function that reflections leave unchanged tells them apart.
    """
    label = torch.arange(count) % len(EIGHT)
    a, b = torch.rand(2, count, points, generator=generator)
    turn = 2 * math.pi * a
    ring = torch.stack([turn.cos(), turn.sin()], -1)
    cube = torch.rand(count, points, 3, generator=generator) * 2 - 1
    face = torch.randint(3, (count, points, 1), generator=generator)
    side = torch.randint(2, (count, points, 1), generator=generator) * 2.0 - 1
    ball = torch.randn(count, points, 3, generator=generator)
    tube = 2 * math.pi * b[..., None]
    winding = turn + 2 * math.pi * torch.rand(count, 1, generator=generator)
    spiral = torch.stack([0.5 * winding.cos(), 0.5 * winding.sin(), 2 * a - 1], -1)
    kinds = (
        torch.cat([ring * (1 - b.sqrt())[..., None], 2 * b.sqrt()[..., None] - 1], -1),
        torch.cat([ring * (1 + 0.35 * tube.cos()), 0.35 * tube.sin()], -1),
        cube.scatter(-1, face, side) * torch.tensor([0.6, 0.8, 1.0]),
        torch.cat([0.6 * ring, cube[..., 2:]], -1),
        ball / ball.norm(dim=-1, keepdim=True) * torch.tensor([0.6, 0.8, 1.0]),
        torch.cat([cube[..., :2] * (1 - b.sqrt())[..., None], 2 * b.sqrt()[..., None] - 1], -1),
        spiral * torch.tensor([1.0, -1.0, 1.0]),
        spiral,
    )
    x = torch.stack(kinds)[label, torch.arange(count)]
    x = x * (0.8 + 0.4 * torch.rand(count, 1, 3, generator=generator))
    return _normalised(x + 0.03 * torch.randn(x.shape, generator=generator)), label
