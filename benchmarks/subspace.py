"""A random subspace of weight space, forward and backward: ours beside Fastfood by single butterflies, and a matrix.

    python benchmarks/subspace.py [--repeats 5] [--threads 1] [--output subspace.json]

`butterflies` is the same product as usually written: the padded vector goes through both full-length transforms, one pass
over memory for each of the log2(L) levels. It gives the same numbers as ours; the greatest difference is in the row.
`dense` is the matrix, at the sizes at which it fits in a gigabyte. Ratios are of medians of the processor's seconds.
"""

import time
from functools import partial

import torch
from torch import Tensor

from erlangen.audit.landscape import make_projection
from erlangen.audit.landscape.projections import FastfoodProjection
from harness import interleave, make_parser, write_json

SIZES = [(44_426, 290), (199_210, 750), (1_000_000, 100), (1_000_000, 1000)]
DENSE_BYTES = 1 << 30


def butterfly(x: Tensor) -> Tensor:
    size, step = x.shape[-1], 1
    while step < size:
        pairs = x.view(-1, 2, step)
        x = torch.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], 1).view(size)
        step *= 2
    return x


def by_butterflies(fast: FastfoodProjection, permutation: Tensor, v: Tensor) -> Tensor:
    full = len(fast.diagonal)
    padded = torch.nn.functional.pad(v * fast.signs, (0, full - fast.dim))
    return butterfly(butterfly(padded)[permutation] * fast.diagonal)[: fast.size]


def both(call: object, v: Tensor, pull: Tensor) -> Tensor:
    v.grad = None
    out = call(v)  # type: ignore[operator]
    out.backward(pull)
    return out.detach()


def main() -> None:
    options = make_parser(__doc__, repeats=5).parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for size, dim in SIZES:
        fast = make_projection("fastfood", dim, [size])
        assert isinstance(fast, FastfoodProjection)
        generator = torch.Generator().manual_seed(0)
        torch.randint(2, (len(fast.diagonal),), generator=generator)  # what the projection draws before it
        permutation = torch.randperm(len(fast.diagonal), generator=generator)
        v, pull = torch.randn(dim, requires_grad=True), torch.randn(size)
        calls = {"fastfood": fast, "butterflies": partial(by_butterflies, fast, permutation)}
        if 4 * size * dim <= DENSE_BYTES:
            calls["dense"] = make_projection("dense", dim, [size])
        apart = (both(calls["butterflies"], v, pull) - both(fast, v, pull)).abs().max()
        timing = interleave(
            {name: partial(both, call, v, pull) for name, call in calls.items()}, options.repeats, 1, time.process_time
        )
        rows.append({"weights": size, "dim": dim, "greatest_difference": float(apart), **timing.to_dict()})
        print(
            size,
            dim,
            {k: round(1e3 * s, 2) for k, s in timing.medians.items()},
            timing.ratios,
            float(apart),
            flush=True,
        )
    write_json(options.output, rows)


if __name__ == "__main__":
    main()
