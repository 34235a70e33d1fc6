"""Layer by layer CKA of two networks beside torch-cka, on the same images, the networks' own time included and not.

    python benchmarks/cka.py [--repeats 3] [--samples 2560] [--layers 20] [--threads 1] [--output cka.json]

torch-cka 0.21 compares all layers of two networks over a data loader. `statistics` hands both the same activations (the
networks are replaced by look-ups), so that only the similarities are timed; `networks` runs two small CNNs. `difference`
is the largest between the two matrices: torch-cka multiplies Gram matrices of uncentred activations in single precision,
so that it is small in `statistics`, whose activations have mean zero, and larger in `networks`.
"""

import time
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from erlangen.nn.tap import Tap
from erlangen.stats import MinibatchCKA
from harness import interleave, make_parser, write_json

BATCH = 256


class Layers(nn.Module):
    """A chain of convolutions whose outputs are compared."""

    def __init__(self, count: int, channels: int) -> None:
        super().__init__()
        self.inputs = nn.Conv2d(1, channels, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(count - 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.inputs(x).relu()
        for block in self.blocks:
            x = x + block(x).relu()
        return x


class Stored(nn.Module):
    """Layers that put out what was computed before."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({name.replace(".", "_"): nn.Identity() for name in names})
        self.held: list[Tensor] = []

    def forward(self, index: Tensor) -> Tensor:
        for layer, value in zip(self.layers.values(), self.held, strict=True):
            out = layer(value[index])
        return out


def theirs(one: nn.Module, two: nn.Module, names: list[str], loader: list[Any]) -> Tensor:
    from torch_cka import CKA

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        peer = CKA(one, two, "one", "two", list(names), list(names), device="cpu")
        peer.compare(loader)
    for model in (one, two):  # it leaves its hooks behind
        for module in model.modules():
            module._forward_hooks.clear()
    return peer.hsic_matrix


def ours(one: nn.Module, two: nn.Module, names: list[str], loader: list[Any]) -> Tensor:
    state = MinibatchCKA()
    with torch.no_grad(), Tap(one, names, pool=None) as first, Tap(two, names, pool=None) as second:
        for x, *_ in loader:
            one(x), two(x)
            state.update(first.activations, second.activations)
    return state.compute()


class Loader(list):  # type: ignore[type-arg]
    """Batches with the attribute that the peer prints."""

    dataset = "images"


def main() -> None:
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--samples", type=int, default=2560)
    parser.add_argument("--layers", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        import torch_cka.cka

        torch_cka.cka.tqdm = lambda batches, **_: batches
    except ImportError:
        raise SystemExit("cka: skipped, torch-cka is not installed (python benchmarks/environments.py)") from None
    torch.manual_seed(0)
    nets = [Layers(options.layers, 8).eval() for _ in range(2)]
    names = ["inputs", *(f"blocks.{i}" for i in range(options.layers - 1))]
    images = torch.randn(options.samples, 1, 16, 16)
    loader = Loader((part,) for part in images.split(BATCH))
    stored = [Stored(names) for _ in nets]
    for net, store in zip(nets, stored, strict=True):
        with torch.no_grad(), Tap(net, names, pool=None) as tap:
            net(images)
            store.held = [value - value.mean(0) for value in (tap.activations[n].flatten(1) for n in names)]
    kept = [f"layers.{name.replace('.', '_')}" for name in names]
    index = Loader((part,) for part in torch.arange(options.samples).split(BATCH))
    rows = []
    for case, (one, two), layers, batches in (
        ("statistics", stored, kept, index),
        ("networks", nets, names, loader),
    ):
        difference = float((ours(one, two, layers, batches) - theirs(one, two, layers, batches)).abs().max())
        timing = interleave(
            {
                "torch-cka": lambda o=one, t=two, n=layers, b=batches: theirs(o, t, n, b),
                "erlangen": lambda o=one, t=two, n=layers, b=batches: ours(o, t, n, b),
            },
            options.repeats,
            1,
            clock=time.process_time,
        )
        setting = {"case": case, "samples": options.samples, "layers": options.layers, "difference": difference}
        rows.append({**setting, **timing.to_dict()})
        print(f"{case:11} {1 / timing.ratios['erlangen']:6.1f} times as fast, difference {difference:.1e}", flush=True)
    write_json(options.output, rows)


if __name__ == "__main__":
    main()
