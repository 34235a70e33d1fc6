"""Networks for images with a symmetry, and a switch for each mistake."""

import torch
from torch import Tensor, nn

from erlangen.groups.symmetry import Symmetry
from erlangen.nn.images import GroupConv2d


class Turning(nn.Module):
    """Two group convolutions over C4 and a mean over group and plane: invariant under quarter turns."""

    def __init__(self, mistake: str = "") -> None:
        super().__init__()
        self.mistake = mistake
        self.lift = GroupConv2d("C4", 1, 4, input="trivial")
        self.plain = nn.Conv2d(16, 16, 3, padding=1)
        self.conv = GroupConv2d("C4", 4, 4)
        self.head = nn.Linear(4, 3)
        self.flat = nn.Linear(16 * 12 * 12, 3)
        self.register_buffer("grid", torch.linspace(-1, 1, 12).expand(1, 1, 12, 12).clone())

    def forward(self, x: Tensor) -> Tensor:
        if self.mistake == "coordinates":
            x = x + self.grid
        h = self.lift(x).relu()
        h = self.plain(h) if self.mistake == "plain" else self.conv(h)
        h = h.relu()
        if self.mistake == "flat":
            return self.flat(h.flatten(1))
        return self.head(h.reshape(len(x), 4, 4, *h.shape[-2:]).mean((2, 3, 4)))


class Shifting(nn.Module):
    """Two circular convolutions: equivariant under whole-pixel shifts."""

    def __init__(self, mistake: str = "") -> None:
        super().__init__()
        self.mistake = mistake
        mode = "zeros" if mistake == "zeros" else "circular"
        self.first = nn.Conv2d(1, 4, 3, padding=1, padding_mode=mode)
        self.second = nn.Conv2d(4, 2, 3, padding=1, padding_mode=mode)
        self.table = nn.Parameter(torch.randn(1, 1, 12, 12))
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        if self.mistake == "positions":
            x = x + self.table
        h = self.first(x).relu()
        if self.mistake == "stride":
            return self.second(self.pool(h)).mean((-2, -1))
        return self.second(h)


def whole_shifts(n: int, *, pooled: bool = False) -> Symmetry:
    """Circular shifts by whole pixels, as a user writes them."""

    def draw(generator: torch.Generator, dtype: torch.dtype) -> tuple[int, int]:
        dy, dx = torch.randint(n, (2,), generator=generator).tolist()
        return dy, dx

    return Symmetry.from_functions(
        draw,
        lambda g, a: (torch.roll(a[0], g, (-2, -1)),),
        (lambda g, out: out) if pooled else (lambda g, out: torch.roll(out, g, (-2, -1))),
    )
