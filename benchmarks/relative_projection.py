"""Cosines to anchors against one plain matrix product of the same size, and against normalising a copy first.

python benchmarks/relative_projection.py [--repeats N] [--threads N] [--output FILE] [--full]
"""

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize

from erlangen.deploy.compat import RelativeProjection
from harness import interleave, make_parser, write_json

SHAPES = ((20_000, 512, 512), (100_000, 128, 64))
FULL = (*SHAPES, (1_000_000, 512, 512))


def with_a_copy(x: Tensor, anchors: Tensor) -> Tensor:
    return normalize(x, dim=1) @ anchors.T


def measure(n: int, d: int, k: int, repeats: int) -> dict[str, object]:
    generator = torch.Generator().manual_seed(0)
    x, anchors = torch.randn(n, d, generator=generator), torch.randn(k, d, generator=generator)
    projection, unit = RelativeProjection(anchors), normalize(anchors, dim=1)
    with torch.no_grad():
        cases = {
            "matrix product": partial(torch.matmul, x, unit.T),
            "normalised copy": partial(with_a_copy, x, unit),
            "erlangen": partial(projection, x),
        }
        timing = interleave(cases, repeats)
    return {"n": n, "d": d, "anchors": k, **timing.to_dict()}


def main() -> None:
    parser = make_parser(__doc__, repeats=9)
    parser.add_argument("--full", action="store_true", help="a million rows too (gigabytes)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for shape in FULL if arguments.full else SHAPES:
        rows.append(measure(*shape, arguments.repeats))
        print(*shape, {name: round(value, 3) for name, value in rows[-1]["ratios"].items()}, flush=True)
    write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
