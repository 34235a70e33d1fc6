"""Exact search beside its floor, the bare matrix product, and faiss's flat index: processor seconds.

Unit vectors, the ten nearest of 512 queries.

python benchmarks/exact_search.py [--count 50000] [--output exact_search.json] [--repeats 9] [--threads 1]
"""

import time
from functools import partial

import torch

from erlangen.deploy import Index
from harness import interleave, make_parser, write_json


def measure(count: int, dim: int, queries: int, k: int, repeats: int, threads: int) -> dict[str, object]:
    import faiss  # after torch: both bring an OpenMP runtime

    faiss.omp_set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(200, dim, generator=generator)
    vectors = centres[torch.randint(200, (count,), generator=generator)] + torch.randn(count, dim, generator=generator)
    query = vectors[:queries] + 0.3 * torch.randn(queries, dim, generator=generator)
    engines = {
        name: Index.build(vectors, engine=engine) for name, engine in (("faiss flat", "faiss"), ("erlangen", "exact"))
    }
    unit = torch.nn.functional.normalize(query)
    rows = engines["erlangen"].store.data.split(1024)
    room = torch.empty(queries, 1024)

    def product() -> None:
        for block in rows:
            torch.mm(unit, block.T, out=room[:, : len(block)])

    cases = {name: partial(index.search, query, k) for name, index in engines.items()} | {"product alone": product}
    timing = interleave(cases, repeats, 1, clock=time.process_time)
    agreement = engines["erlangen"].recall_against(engines["faiss flat"], query, k)
    setting = {"count": count, "dim": dim, "queries": queries, "k": k, "agreement": float(agreement)}
    floor = timing.medians["erlangen"] / timing.medians["product alone"]
    return {**setting, "flops": 2 * count * dim * queries, "over_floor": floor, **timing.to_dict()}


def main() -> None:
    parser = make_parser(__doc__, repeats=9)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--dims", type=int, nargs="+", default=[128, 768])
    parser.add_argument("--queries", type=int, default=512)
    parser.add_argument("--k", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        import faiss  # noqa: F401
    except ImportError:
        raise SystemExit("exact_search: skipped, faiss is not installed (pip install faiss-cpu)") from None
    rows = []
    for dim in options.dims:
        rows.append(measure(options.count, dim, options.queries, options.k, options.repeats, options.threads))
        print(dim, rows[-1]["ratios"], "over the product alone:", rows[-1]["over_floor"], flush=True)
    write_json(options.output, rows)


if __name__ == "__main__":
    main()
