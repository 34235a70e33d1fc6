"""Weights from codes and their use in a small convolutional network: one pass over all codes beside a loop over codes.

    python benchmarks/hyper_net.py [--codes 1 32] [--repeats 5] [--threads 1] [--output hyper_net.json]

The network has four convolutions and about 110 thousand weights; every code is used on the same batch. `loop` is ours, one
code after the other, which is how hyperlight is used: it is measured too where it is installed. All run interleaved in one
process; the ratios are of medians of the processor's seconds.
"""

import importlib.util
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from erlangen.nn.hyper import HyperNet
from harness import interleave, make_parser, write_json

HIDDEN = (16, 64, 128)


def network() -> nn.Module:
    widths = (1, 32, 64, 64, 80)
    layers: list[nn.Module] = []
    for inner, outer in pairwise(widths):
        layers += [nn.Conv2d(inner, outer, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1], 10))


def loop(net: HyperNet, x: Tensor, codes: Tensor) -> Tensor:
    return torch.stack([net(x, code=code) for code in codes])


def hyperlight(x: Tensor) -> Callable[[Tensor], Tensor] | None:
    """hyperlight's network of the same sizes, one code after the other."""
    if importlib.util.find_spec("hyperlight") is None:
        return None
    import hyperlight as hl

    plain = network()
    target = hl.hypernetize(plain, modules=[m for m in plain if isinstance(m, nn.Conv2d | nn.Linear)])
    net = hl.HyperNet({"h": (1,)}, output_shapes=target.external_shapes(), hidden_sizes=list(HIDDEN))

    def apply(codes: Tensor) -> Tensor:
        outputs = []
        for code in codes:
            with target.using_externals(net(h=code)):
                outputs.append(target(x))
        return torch.stack(outputs)

    return apply


def measure(count: int, batch: int, repeats: int) -> dict[str, object]:
    """One row; the reference of the ratios is the loop."""
    torch.manual_seed(0)
    net, x, codes = HyperNet(1, network(), hidden=HIDDEN), torch.randn(batch, 1, 16, 16), torch.rand(count, 1)

    def quiet(call: Callable[[], Tensor]) -> None:
        with torch.no_grad():
            call()

    with torch.no_grad():
        difference = float((loop(net, x, codes) - net.each(x, codes=codes)).abs().max())
    cases: dict[str, Callable[[], object]] = {
        "loop": partial(quiet, partial(loop, net, x, codes)),
        "erlangen": partial(quiet, partial(net.each, x, codes=codes)),
    }
    peer = hyperlight(x)
    if peer is not None:
        cases["hyperlight"] = partial(quiet, partial(peer, codes))
    timing = interleave(cases, repeats=repeats, warmup=1, clock=time.process_time)
    weights = sum(p.numel() for p in net.target.parameters())
    return {"codes": count, "batch": batch, "weights": weights, "difference": difference, **timing.to_dict()}


def main() -> None:
    parser = make_parser(__doc__, repeats=5)
    parser.add_argument("--codes", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--batch", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if importlib.util.find_spec("hyperlight") is None:
        print("hyperlight is not installed: left out (pip install --no-deps hyperlight)")
    rows = []
    for count in arguments.codes:
        rows.append(measure(count, arguments.batch, arguments.repeats))
        print(count, {name: round(value, 3) for name, value in rows[-1]["ratios"].items()}, flush=True)
    write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
