"""Layers and functions of torch.nn."""

import pytest
import torch
from third_party_case import Foreign, Wrapped, cyclic_shifts, euclidean, examine, rows, two_layers
from torch import Tensor, nn

from erlangen.groups.actions import Permute
from erlangen.groups.symmetry import Symmetry


def tokens() -> Tensor:
    return torch.randn(2, 6, 8)


def encoder(dropout: float = 0.0) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=dropout, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def with_positions(size: float) -> nn.Module:
    table = nn.Parameter(size * torch.randn(6, 8))
    return Wrapped(lambda m, x: m.encoder(x + m.table), encoder=encoder().eval(), table=table)


def attention_weights(x: Tensor) -> tuple[nn.Module, Symmetry, Tensor]:
    model = Wrapped(lambda m, x: m.mix(x, x, x), mix=nn.MultiheadAttention(8, 2, batch_first=True))
    both = Permute(Symmetry("S6", "rows").group, axes=(-2, -1))
    return model, Symmetry("S6", "rows", ("rows", both)), x


def identity(size: int) -> nn.Linear:
    layer = nn.Linear(size, size, bias=False)
    nn.init.eye_(layer.weight)
    return layer


def symmetric_filter(**options: int) -> nn.Conv2d:
    """A filter that the square's symmetries leave alone, in numbers that float32 holds exactly."""
    layer = nn.Conv2d(2, 3, 3, padding=1, **options)
    with torch.no_grad():
        weight = (64 * layer.weight).round() / 64
        weight = sum(torch.rot90(weight, k, (-2, -1)) for k in range(4)) / 4  # type: ignore[assignment]
        layer.weight.copy_((weight + weight.flip(-1)) / 2)
    return layer


def cnn(**options: str) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, **options), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1, **options))


def image(size: int = 12) -> Tensor:
    return torch.randn(2, 2, size, size)


def over_time(layer: nn.Module) -> nn.Module:
    return Wrapped(lambda m, x: m.layer(x.mT).mT, layer=layer)


CASES = [
    Foreign("linear on rows", "exact", lambda: (nn.Linear(8, 4), rows(), tokens()), quiet=True),
    Foreign("attention and its weights", "exact", lambda: attention_weights(tokens())),
    Foreign("encoder in eval mode", "exact", lambda: (encoder(0.1).eval(), rows(), tokens()), risk="train mode"),
    Foreign("encoder in train mode", "broken", lambda: (encoder(0.1), rows(), tokens()), "random", "eval mode"),
    Foreign("encoder with positions", "broken", lambda: (with_positions(1.0), rows(), tokens()), "order|position"),
    Foreign("tiny positions", "approximate", lambda: (with_positions(1e-3), rows(), tokens()), "order|position"),
    Foreign("zero positions", "exact", lambda: (with_positions(0.0), rows(), tokens()), risk="perturbed parameters"),
    Foreign(
        "recurrent over rows",
        "broken",
        lambda: (Wrapped(lambda m, x: m.cell(x)[0], cell=nn.GRU(8, 8, batch_first=True)), rows(), tokens()),
        "order",
    ),
    Foreign(
        "recurrent over the batch",
        "exact",
        lambda: (Wrapped(lambda m, x: m.cell(x)[0], cell=nn.GRU(8, 8)), rows(), tokens()),
    ),
    Foreign("norm over rows and channels", "exact", lambda: (nn.LayerNorm([6, 8]), rows(), tokens()), risk="perturbed"),
    Foreign("batch norm over rows", "exact", lambda: (over_time(nn.BatchNorm1d(8)), rows(), tokens())),
    Foreign(
        "mixing tokens, identity at first",
        "exact",
        lambda: (over_time(identity(6)), rows(), tokens()),
        risk="perturbed",
    ),
    Foreign(
        "flattened rows",
        "broken",
        lambda: (nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), rows("invariant"), tokens()),
        "order",
    ),
    Foreign("sorted values", "exact", lambda: (lambda x: x.sort(-2).values, rows("invariant"), tokens())),
    Foreign("sorted places", "broken", lambda: (lambda x: x.argsort(-2), rows("invariant"), tokens()), "order"),
    Foreign(
        "embedding of a batch",
        "exact",
        lambda: (nn.Embedding(9, 4), Symmetry("S(n)", "mask", "rows"), torch.randint(9, (2, 6))),
    ),
    Foreign(
        "circular filter over time",
        "exact",
        lambda: (
            over_time(nn.Conv1d(3, 4, 3, padding=1, padding_mode="circular")),
            Symmetry("C16", "sequence", "sequence"),
            torch.randn(2, 16, 3),
        ),
    ),
    Foreign(
        "padded filter over time",
        "broken",
        lambda: (
            over_time(nn.Conv1d(3, 4, 3, padding=1)),
            Symmetry("C16", "sequence", "sequence"),
            torch.randn(2, 16, 3),
        ),
        "padding",
    ),
    Foreign(
        "spectrum",
        "exact",
        lambda: (lambda x: torch.fft.rfft(x, dim=-2).abs(), Symmetry("C16", "sequence"), torch.randn(2, 16, 3)),
    ),
    Foreign("circular images", "exact", lambda: (cnn(padding_mode="circular"), cyclic_shifts(12), image())),
    Foreign("zero padding", "broken", lambda: (cnn(), cyclic_shifts(12), image()), "padding"),
    Foreign(
        "replicated border",
        "broken|approximate",
        lambda: (cnn(padding_mode="replicate"), cyclic_shifts(12), image()),
        "padding",
    ),
    Foreign(
        "pooling under even shifts",
        "exact",
        lambda: (nn.MaxPool2d(2), cyclic_shifts(12, step=2, output_step=0.5), image()),
    ),
    Foreign(
        "pooling under all shifts",
        "broken",
        lambda: (
            Wrapped(lambda m, x: m.pool(x).pow(2).mean((-2, -1)), pool=nn.MaxPool2d(2)),
            cyclic_shifts(12, output=False),
            image(),
        ),
        "stride|pooling",
    ),
    Foreign(
        "symmetric filter",
        "exact",
        lambda: (symmetric_filter(), Symmetry("D4", "image", "image"), image()),
        risk="perturbed",
    ),
    Foreign(
        "symmetric filter, odd size, stride",
        "exact",
        lambda: (symmetric_filter(stride=2), Symmetry("D4", "image", "image"), image(13)),
    ),
    Foreign(
        "symmetric filter, even size, stride",
        "broken",
        lambda: (symmetric_filter(stride=2), Symmetry("D4", "image", "image"), image()),
        "stride|grid",
    ),
    Foreign(
        "plain filters turned", "broken", lambda: (cnn(), Symmetry("C4", "image", "image"), image()), "orientation"
    ),
    Foreign(
        "mean over a turned image",
        "approximate|broken",
        lambda: (lambda x: x.mean((-2, -1)), Symmetry("C8", "image"), image()),
        "interpolation",
    ),
    Foreign(
        "norm of vectors",
        "exact",
        lambda: (nn.RMSNorm(3), Symmetry("O(3)", "vectors", "vectors"), torch.randn(6, 3)),
        risk="perturbed",
    ),
    Foreign(
        "layer norm of vectors",
        "broken",
        lambda: (nn.LayerNorm(3), Symmetry("O(3)", "vectors", "vectors"), torch.randn(6, 3)),
        "normalisation",
    ),
    Foreign(
        "linear on vectors",
        "broken",
        lambda: (nn.Linear(3, 3, bias=False), Symmetry("O(3)", "vectors", "vectors"), torch.randn(6, 3)),
        "mixes|component",
    ),
    Foreign(
        "distance with an epsilon",
        "approximate",
        lambda: (nn.PairwiseDistance(), euclidean(input=("points", "points")), (torch.randn(6, 3), torch.randn(6, 3))),
    ),
    Foreign(
        "bilinear layer, arguments swapped",
        "broken",
        lambda: (
            nn.Bilinear(3, 3, 2),
            Symmetry.from_functions(lambda g, d: 1, lambda g, a: (a[1], a[0]), lambda g, o: o),
            (torch.randn(6, 3), torch.randn(6, 3)),
        ),
    ),
    Foreign(
        "complex phases",
        "exact",
        lambda: (
            nn.Linear(5, 3, bias=False, dtype=torch.complex64),
            phases(),
            torch.randn(2, 5, dtype=torch.complex64),
        ),
    ),
    Foreign(
        "no bias, scaled",
        "exact",
        lambda: (nn.Sequential(nn.Linear(3, 8, bias=False), nn.ReLU()), scaled(), torch.randn(6, 3)),
    ),
    Foreign(
        "bias, scaled",
        "broken",
        lambda: (nn.Sequential(nn.Linear(3, 8), nn.ReLU()), scaled(), torch.randn(6, 3)),
        "scale|bias",
    ),
    Foreign("a head of zeros", "vacuous", lambda: (zero_head(), rows("invariant"), tokens()), risk="perturbed"),
    Foreign(
        "pooled network",
        "exact",
        lambda: (Wrapped(lambda m, x: m.net(x).mean(-2), net=two_layers(8, 16, 4)), rows("invariant"), tokens()),
        quiet=True,
    ),
]


def phases() -> Symmetry:
    def draw(generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        return torch.polar(torch.ones((), dtype=dtype), 6.28 * torch.rand((), generator=generator, dtype=dtype))

    return Symmetry.from_functions(draw, lambda g, a: (g * a[0],), lambda g, out: g * out)


def scaled() -> Symmetry:
    def draw(generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        return 0.5 + torch.rand((), generator=generator, dtype=dtype)

    return Symmetry.from_functions(draw, lambda g, a: (g * a[0],), lambda g, out: g * out)


def zero_head() -> nn.Module:
    head = nn.Linear(48, 3)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return nn.Sequential(nn.Flatten(), head)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_the_mathematics_says(case: Foreign) -> None:
    examine(case)
