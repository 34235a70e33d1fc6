"""Hamming search beside faiss's flat binary index: random codes, the ten nearest, processor seconds.

python benchmarks/hamming_search.py [--count 50000] [--output hamming_search.json] [--repeats 9] [--threads 1]
"""

import time
from functools import partial

import torch

from erlangen.deploy import BinaryIndex
from erlangen.stats import hamming_topk, pack_bits
from harness import interleave, make_parser, write_json


def measure(count: int, bits: int, queries: int, k: int, repeats: int, threads: int) -> dict[str, object]:
    import faiss  # after torch: both bring an OpenMP runtime

    faiss.omp_set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    code = torch.rand(count, bits, generator=generator) < 0.5
    query = torch.rand(queries, bits, generator=generator) < 0.5
    words, asked = pack_bits(code), pack_bits(query)
    flat = faiss.IndexBinaryFlat(64 * words.shape[1])
    flat.add(words.numpy().view("uint8"))
    index = BinaryIndex.build(code)
    cases = {
        "faiss binary flat": partial(flat.search, asked.numpy().view("uint8"), k),
        "erlangen hamming_topk": partial(hamming_topk, asked, words, k),
        "erlangen BinaryIndex": partial(index.search, query, k),
    }
    timing = interleave(cases, repeats, 2, clock=time.process_time)
    same = bool((-index.search(query, k).scores.numpy() == cases["faiss binary flat"]()[0]).all())
    setting = {"count": count, "bits": bits, "queries": queries, "k": k, "same_distances": same}
    return {**setting, **timing.to_dict()}


def main() -> None:
    parser = make_parser(__doc__, repeats=9)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--bits", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 16, 512])
    parser.add_argument("--k", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        import faiss  # noqa: F401
    except ImportError:
        raise SystemExit("hamming_search: skipped, faiss is not installed (pip install faiss-cpu)") from None
    rows = []
    for bits in options.bits:
        for queries in options.queries:
            rows.append(measure(options.count, bits, queries, options.k, options.repeats, options.threads))
            print(bits, queries, rows[-1]["ratios"], flush=True)
    write_json(options.output, rows)


if __name__ == "__main__":
    main()
