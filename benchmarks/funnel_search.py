"""Funnel search beside exact search over whole vectors: wall-clock seconds, multiply-adds, recall and mAP.

Vectors of 1,000 classes whose spectrum falls as a trained prefix embedding's or a PCA's does: coordinate j has
standard deviation (1 + j) ** -0.75.

python benchmarks/funnel_search.py [--count 50000] [--output funnel_search.json] [--repeats 7] [--threads 1]
"""

from functools import partial

import torch

from erlangen.deploy import FunnelSearch, Index
from harness import interleave, make_parser, write_json

FUNNELS = {512: ([40, 128, 512], [200, 80]), 1024: ([64, 256, 1024], [200, 80])}


def measure(count: int, dim: int, queries: int, k: int, repeats: int) -> dict[str, object]:
    generator = torch.Generator().manual_seed(0)
    scale = (1 + torch.arange(dim)) ** -0.75
    centres = torch.randn(1000, dim, generator=generator)
    labels = torch.randint(1000, (count + queries,), generator=generator)
    points = (centres[labels] + 0.7 * torch.randn(count + queries, dim, generator=generator)) * scale
    exact = Index.build(points[:count])
    dims, shortlist = FUNNELS.get(dim, ([max(1, dim // 16), dim], [200]))
    funnel = FunnelSearch(exact, dims, shortlist)
    query = points[count:]
    cases = {"exact": partial(exact.search, query, k), "funnel": partial(funnel.search, query, k)}
    timing = interleave(cases, repeats, 2)
    steps = funnel.multiply_adds()
    quality = {}
    for name, search in cases.items():
        found = search()
        hit = (labels[found.ids] == labels[count:, None]).double()
        precision = hit.cumsum(1) / torch.arange(1, k + 1)
        quality[f"map@{k} {name}"] = float((precision * hit).sum(1).mean() / k)  # every class has more than k members
    setting = {"count": count, "dim": dim, "queries": queries, "k": k, "dims": str(dims), "shortlist": str(shortlist)}
    facts = {"recall": funnel.recall_against(exact, query, k), "flops_ratio": steps["exact"] / steps["funnel"]}
    return {**setting, **facts, **quality, **timing.to_dict()}


def main() -> None:
    parser = make_parser(__doc__, repeats=7)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--dims", type=int, nargs="+", default=[128, 512, 1024])
    parser.add_argument("--queries", type=int, default=512)
    parser.add_argument("--k", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for dim in options.dims:
        rows.append(measure(options.count, dim, options.queries, options.k, options.repeats))
        facts = {key: value for key, value in rows[-1].items() if key.startswith(("recall", "flops", "map"))}
        print(dim, rows[-1]["ratios"], facts, flush=True)
    write_json(options.output, rows)


if __name__ == "__main__":
    main()
