"""Exact search, ours beside faiss: 50,000 x 128 unit vectors, k = 10, CPU seconds per query, interleaved.

Prints one JSON line; the ratio of medians is ours over faiss, lower is better.
CPU time, not wall time, so that other work on the machine does not decide.
"""

import json
import statistics
import time

import torch

from erlangen.deploy import Index


def cpu_seconds(index: Index, query: torch.Tensor, k: int) -> float:
    start = time.process_time()
    index.search(query, k)
    return time.process_time() - start


def main(count: int = 50_000, dim: int = 128, queries: int = 512, k: int = 10, rounds: int = 9) -> None:
    torch.set_num_threads(1)
    import faiss  # after torch: both bring an OpenMP runtime

    faiss.omp_set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(200, dim, generator=generator)
    vectors = centres[torch.randint(200, (count,), generator=generator)] + torch.randn(count, dim, generator=generator)
    query = vectors[:queries] + 0.3 * torch.randn(queries, dim, generator=generator)
    engines = {name: Index.build(vectors, engine=name) for name in ("exact", "faiss")}
    for index in engines.values():
        cpu_seconds(index, query, k)
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, index in engines.items():
            times[name].append(cpu_seconds(index, query, k) / queries)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(
        json.dumps(
            {
                "benchmark": "exact_search",
                "shape": [count, dim],
                "k": k,
                "ours_us_per_query": round(medians["exact"] * 1e6, 1),
                "faiss_us_per_query": round(medians["faiss"] * 1e6, 1),
                "ratio": round(medians["exact"] / medians["faiss"], 3),
                "agreement": engines["exact"].recall_against(engines["faiss"], query, k),
            }
        )
    )


if __name__ == "__main__":
    main()
