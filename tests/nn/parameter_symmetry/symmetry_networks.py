"""Small random networks of every kind that the coupling graph must read."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """Stem, two residual blocks with norms (the second strided, with a projection), pooled head."""

    def __init__(self, norm: Callable[[int], nn.Module] = nn.BatchNorm2d, squeeze: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), norm(6), nn.ReLU())
        self.a1, self.n1 = nn.Conv2d(6, 8, 3, padding=1), norm(8)
        self.a2, self.n2 = nn.Conv2d(8, 6, 3, padding=1, bias=False), norm(6)
        self.b1, self.m1 = nn.Conv2d(6, 5, 3, padding=1, stride=2), norm(5)
        self.b2 = nn.Conv2d(5, 10, 1)
        self.short = nn.Conv2d(6, 10, 1, stride=2)
        self.gate = nn.Sequential(nn.Linear(10, 4), nn.ReLU(), nn.Linear(4, 10), nn.Sigmoid()) if squeeze else None
        self.head = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.relu(x + self.n2(self.a2(F.relu(self.n1(self.a1(x)), inplace=True))))
        x = self.b2(self.m1(self.b1(x)).relu()) + self.short(x)
        if self.gate is not None:
            x = x * self.gate(x.mean((2, 3)))[:, :, None, None]
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Dense(nn.Module):
    """Concatenation of all earlier maps, and a flattened head."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(7, 5, 3, padding=1), nn.Conv2d(9, 6, 1)
        self.norm, self.head = nn.BatchNorm2d(9), nn.Linear(6 * 9, 3)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x).relu()
        b = F.leaky_relu(self.b(torch.cat([x, a], 1)))
        c = self.c(self.norm(torch.cat([a, b], 1))).relu()
        return self.head(torch.flatten(F.avg_pool2d(c, 2), 1))


class Separable(nn.Module):
    """Grouped and depthwise convolutions (one with two outputs a channel), PReLU, a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.PReLU(8),
            nn.Conv2d(8, 8, 3, groups=8, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, groups=8, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 12, 1),
            nn.ReLU(),
            nn.Conv2d(12, 8, 3, groups=4, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 6, 2, stride=2),
            nn.GELU(),
            nn.Conv2d(6, 2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Attention(nn.Module):
    """Attention written by hand, heads by reshaping; `flash` uses torch's own product."""

    def __init__(self, width: int = 12, heads: int = 3, flash: bool = False) -> None:
        super().__init__()
        self.qkv, self.out, self.heads, self.flash = (
            nn.Linear(width, 3 * 6 * heads),
            nn.Linear(6 * heads, width),
            heads,
            flash,
        )

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, -1, 6).permute(2, 0, 3, 1, 4)
        if self.flash:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = (q @ k.transpose(-1, -2) / 6**0.5).softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(b, t, -1))


class Gated(nn.Module):
    """A gated feed-forward block of today's language models."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.up, self.gate, self.down = nn.Linear(width, 9), nn.Linear(width, 9), nn.Linear(9, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.up(x) * F.silu(self.gate(x)))


class VisionTransformer(nn.Module):
    """Patches, class token, position embedding, pre-norm blocks, layer scale."""

    def __init__(self, flash: bool = False) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 12, 2, stride=2)
        self.token, self.position = nn.Parameter(torch.randn(1, 1, 12)), nn.Parameter(torch.randn(1, 10, 12))
        self.n1, self.n2, self.n3 = nn.LayerNorm(12), nn.LayerNorm(12), nn.LayerNorm(12)
        self.attention, self.mlp, self.head = Attention(flash=flash), Gated(), nn.Linear(12, 5)
        self.size = nn.Parameter(torch.rand(12))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        x = x + self.size * self.attention(self.n1(x))
        x = x + self.mlp(self.n2(x))
        return self.head(self.n3(x)[:, 0])


class Language(nn.Module):
    """Tied input and output embeddings around torch's own encoder layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 10, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.head(self.layer(self.embed(x), src_mask=mask))


class Tied(nn.Module):
    """One square layer used twice, in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.last = nn.Linear(4, 7), nn.Linear(7, 7), nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).tanh()
        for _ in range(2):
            x = torch.tanh(self.again(x))
        return self.last(x)


class Glu(nn.Module):
    """Halves of one layer that gate each other; group norm over all channels; a matrix written as x @ w."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Linear(4, 12), nn.GroupNorm(1, 6)
        self.matrix, self.last = nn.Parameter(torch.randn(6, 5)), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last((self.norm(F.glu(self.a(x), -1)) @ self.matrix).relu())


class Mixed(nn.Module):
    """A recurrent layer, for which there is no rule, between two that there are."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.rnn, self.last = nn.Linear(4, 6), nn.Linear(6, 5), nn.GRU(5, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.rnn(self.b(self.a(x).relu()))[0])


def mlp(act: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 9), act(), nn.Linear(9, 7), nn.BatchNorm1d(7), act(), nn.Linear(7, 3))


IMAGE, ROWS, TOKENS = (2, 3, 6, 6), (5, 4), (2, 6)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp relu": (mlp, ROWS),
    "mlp tanh": (lambda: mlp(nn.Tanh), ROWS),
    "residual": (Residual, IMAGE),
    "residual, group norm": (lambda: Residual(lambda c: nn.GroupNorm(1, c)), IMAGE),
    "residual, instance norm": (lambda: Residual(lambda c: nn.InstanceNorm2d(c, affine=True)), IMAGE),
    "residual, squeeze": (lambda: Residual(squeeze=True), IMAGE),
    "dense": (Dense, IMAGE),
    "separable": (Separable, IMAGE),
    "vision transformer": (VisionTransformer, IMAGE),
    "vision transformer, flash": (lambda: VisionTransformer(flash=True), IMAGE),
    "language": (Language, TOKENS),
    "tied": (Tied, ROWS),
    "glu": (Glu, ROWS),
    "no rule": (Mixed, (3, 2, 4)),
}


def build(name: str, seed: int, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor]:
    """A network with weights in general position, in evaluation mode, and an input."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        make, shape = NETWORKS[name]
        model = make().to(dtype).eval()
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn(p.shape, generator=generator).to(dtype), alpha=0.2)
            for key, b in model.named_buffers():
                if key.endswith("running_mean"):
                    b.normal_()
                elif key.endswith("running_var"):
                    b.uniform_(0.5, 2)
    if shape is TOKENS:
        return model, torch.randint(0, 11, shape, generator=generator)
    return model, torch.randn(shape, generator=generator).to(dtype)
