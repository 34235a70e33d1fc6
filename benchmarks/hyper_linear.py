"""HyperLinear beside a matrix for each sample, forward and forward with backward, at the sizes of SIE.

    python benchmarks/hyper_linear.py [--full] [--repeats 5] [--threads 1] [--output hyper_linear.json]

`materialised` is what the released code does: a linear map of the code gives batch x d x d weights, which are then applied
one by one. Both compute the same function of the same parameters; the greatest difference is in the row. All run
interleaved in one process; the ratios are of medians of the processor's seconds. `memory_ratio` counts the numbers that
exist at once beside the parameters.
"""

import time
from functools import partial

import torch
from torch import Tensor

from erlangen.nn.hyper import HyperLinear
from harness import interleave, make_parser, write_json

SHAPES = [(64, 512, 4), (256, 512, 4), (256, 512, 9)]
FULL = [*SHAPES, (256, 1024, 4), (1024, 1024, 4)]


def materialised(layer: HyperLinear, z: Tensor, g: Tensor) -> Tensor:
    """A matrix for each sample, `[batch, d, d]`."""
    matrices = (g @ layer.weight.flatten(1)).view(len(z), layer.out_features, layer.in_features)
    return (matrices @ z.unsqueeze(-1)).squeeze(-1)


def forward(call: object, z: Tensor, g: Tensor) -> None:
    with torch.no_grad():
        call(z, g)  # type: ignore[operator]


def both(call: object, layer: HyperLinear, z: Tensor, g: Tensor) -> None:
    layer.zero_grad()
    call(z, g).sum().backward()  # type: ignore[operator]


def measure(batch: int, d: int, k: int, repeats: int) -> dict[str, object]:
    """One row; the reference of the ratios is the materialised forward pass."""
    generator = torch.Generator().manual_seed(0)
    layer = HyperLinear(d, d, k)
    z = torch.randn(batch, d, generator=generator)
    g = torch.nn.functional.normalize(torch.randn(batch, k, generator=generator), dim=1)
    plain = partial(materialised, layer)
    with torch.no_grad():
        ours, theirs = layer(z, g), plain(z, g)
    difference = float((ours - theirs).abs().max() / theirs.abs().max())
    timing = interleave(
        {
            "materialised": partial(forward, plain, z, g),
            "erlangen": partial(forward, layer, z, g),
            "materialised, backward": partial(both, plain, layer, z, g),
            "erlangen, backward": partial(both, layer, layer, z, g),
        },
        repeats=repeats,
        warmup=1,
        clock=time.process_time,
    )
    seconds = timing.medians
    return {
        "batch": batch,
        "d": d,
        "k": k,
        "difference": difference,
        "memory_ratio": batch * d * d / (batch * k * d),
        "faster": seconds["materialised"] / seconds["erlangen"],
        "faster_backward": seconds["materialised, backward"] / seconds["erlangen, backward"],
        **timing.to_dict(),
    }


def main() -> None:
    parser = make_parser(__doc__, repeats=5)
    parser.add_argument("--full", action="store_true", help="d = 1024 too (up to 4 GiB for the materialised weights)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for batch, d, k in FULL if arguments.full else SHAPES:
        rows.append(measure(batch, d, k, arguments.repeats))
        row = rows[-1]
        print(
            f"({batch}, {d}, {k}): {row['faster']:.1f}x faster, {row['faster_backward']:.1f}x with backward, "
            f"{row['memory_ratio']:.0f}x less memory, difference {row['difference']:.1e}",
            flush=True,
        )
    write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
