"""Locally connected layers: ours beside unfold and einsum, forward with backward.

    python benchmarks/locally_connected.py [--repeats 5] [--threads 1] [--output locally_connected.json]

torch has no such layer; `unfold_einsum` is what its users write. Both get the same weights.
"""

import time
from functools import partial

import torch
from torch import Tensor

from erlangen.nn.images import LocallyConnected2d
from harness import interleave, make_parser, write_json

SIZES = [(64, 3, 16, 16, 3), (64, 16, 32, 14, 3), (32, 32, 32, 8, 5)]


def unfold_einsum(layer: LocallyConnected2d, x: Tensor) -> Tensor:
    windows = torch.nn.functional.unfold(x, layer.kernel_size)  # [batch, window, positions]
    y = torch.einsum("nkp,pko->nop", windows, layer.weight) + layer.bias.squeeze(1).T
    return y.view(len(x), -1, *layer.output_size)


def both(call: object, x: Tensor) -> Tensor:
    x.grad = None
    out = call(x)  # type: ignore[operator]
    out.square().sum().backward()
    return out.detach()


def main() -> None:
    options = make_parser(__doc__, repeats=5).parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for batch, channels, out, side, kernel in SIZES:
        layer = LocallyConnected2d(channels, out, input_size=side, kernel_size=kernel)
        x = torch.randn(batch, channels, side, side, requires_grad=True)
        calls = {"ours": layer, "unfold_einsum": partial(unfold_einsum, layer)}
        apart = float((both(calls["ours"], x) - both(calls["unfold_einsum"], x)).abs().max())
        cases = {name: partial(both, call, x) for name, call in calls.items()}
        timing = interleave(cases, options.repeats, 1, time.process_time)
        shape = {"batch": batch, "channels": channels, "out": out, "side": side, "kernel": kernel}
        rows.append({**shape, "greatest_difference": apart, **timing.to_dict()})
        print(shape, timing.ratios, apart, flush=True)
    write_json(options.output, rows)


if __name__ == "__main__":
    main()
