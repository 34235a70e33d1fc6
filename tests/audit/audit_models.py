"""Small models and images with a known truth."""

import torch
from torch import Tensor, nn


def blobs(n: int = 96, size: int = 9, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Class 0: a hook; class 1: the same turned by 180 degrees; class 2: a cross; noise on all."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % 3
    x = 0.1 * torch.rand(n, 1, size, size, generator=generator)
    kinds = torch.zeros(3, 1, size, size)
    kinds[0, 0, 2:7, 2] = 1
    kinds[0, 0, 2, 2:6] = 1
    kinds[1] = kinds[0].rot90(2, (-2, -1))
    kinds[2, 0, 4, 2:7] = 1
    kinds[2, 0, 2:7, 4] = 1
    return x + kinds[label], label


class Encoder(nn.Module):
    """A convolution, batch normalisation (buffers to keep unchanged), dropout (randomness) and a linear map."""

    def __init__(self, dim: int = 8, size: int = 9, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.conv = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2))
            self.linear = nn.Linear(6 * size * size, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.conv(x).flatten(1))


class Invariant(nn.Module):
    """The mean of an encoder over the four quarter turns: invariant to C4 up to rounding."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.inner = Encoder(seed=seed)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.inner(x.rot90(k, (-2, -1))) for k in range(4)]).mean(0)


class Collapsed(nn.Module):
    """The same embedding for every input."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.arange(8.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.value.expand(len(x), 8) + 0 * x.flatten(1).sum(1, keepdim=True)


class Flat(nn.Module):
    """The input itself as embedding."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)
