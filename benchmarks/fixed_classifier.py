"""Logits on the vertices of a simplex without the matrix, against the dense product; and the search for class vectors.

    python benchmarks/fixed_classifier.py [--repeats N] [--threads N] [--output FILE] [--search]

`--search` adds the generator of equiangular vectors: the coherence over the Welch bound that it reaches, and its seconds.
"""

import time
from functools import partial

import torch

from erlangen.nn import FixedClassifier
from erlangen.nn.prototypes import coherence, equiangular_prototypes, simplex_prototypes, welch_bound
from harness import interleave, make_parser, write_json

SHAPES = ((64, 1024), (64, 4096), (16, 10_000))
SEARCHES = ((100, 32), (250, 50), (1000, 200))


def measure(n: int, classes: int, repeats: int) -> dict[str, object]:
    h = torch.randn(n, classes - 1, generator=torch.Generator().manual_seed(0))
    dense, head = simplex_prototypes(classes).T.contiguous(), FixedClassifier("simplex", classes)
    with torch.no_grad():
        timing = interleave({"dense product": partial(torch.matmul, h, dense), "erlangen": partial(head, h)}, repeats)
    stored = sum(b.numel() for b in head.buffers())
    facts = {"n": n, "classes": classes, "dense_numbers": dense.numel(), "stored_numbers": stored}
    return {**facts, **timing.to_dict()}


def search(classes: int, dim: int) -> dict[str, object]:
    start = time.perf_counter()
    vectors = equiangular_prototypes(classes, dim, generator=torch.Generator().manual_seed(0))
    seconds = time.perf_counter() - start
    reached = coherence(vectors)
    return {
        "classes": classes,
        "dim": dim,
        "seconds": seconds,
        "coherence": reached,
        "ratios": {"over Welch bound": reached / welch_bound(classes, dim)},
    }


def main() -> None:
    parser = make_parser(__doc__, repeats=9)
    parser.add_argument("--search", action="store_true", help="time the generator too (a minute)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = [measure(n, classes, arguments.repeats) for n, classes in SHAPES]
    rows += [search(classes, dim) for classes, dim in (SEARCHES if arguments.search else ())]
    for row in rows:
        print({k: v for k, v in row.items() if k not in ("quartiles", "medians", "repeats")}, flush=True)
    write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
