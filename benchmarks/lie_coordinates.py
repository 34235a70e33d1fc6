"""Polar coordinates of GL+(n) beside a batched SVD and beside geomstats.

python benchmarks/lie_coordinates.py [--output lie_coordinates.json] [--repeats 7] [--threads 1] [--count 100000]
"""

import torch

from erlangen.groups import GLPlus, lie
from harness import interleave, make_parser, write_json

try:
    from geomstats.geometry.spd_matrices import SPDMatrices
except ImportError:
    SPDMatrices = None


def by_svd(g: torch.Tensor) -> torch.Tensor:
    """The same numbers by a batched SVD: what one writes without a closed form."""
    u, s, vh = torch.linalg.svd(g)
    log_p = (u * s.log()[..., None, :]) @ u.mT
    rotation = u @ vh
    return torch.cat([log_p.flatten(-2), rotation.flatten(-2)], -1)


def measure(n: int, count: int, repeats: int) -> dict[str, object]:
    g = GLPlus(n).sample((count,), generator=torch.Generator().manual_seed(0))
    cases = {"ours": lambda: lie.polar_coordinates(g), "torch.linalg.svd": lambda: by_svd(g)}
    if SPDMatrices is not None:
        double = g.double().numpy()
        gram = double @ double.swapaxes(-1, -2)
        cases["geomstats"] = lambda: SPDMatrices.logm(gram)  # its logarithm alone, the factor R not included
    timing = interleave(cases, repeats, 1)
    for name, seconds in timing.medians.items():
        print(f"n={n} {name:18} {seconds * 1e3:8.1f} ms  over ours {timing.ratios[name]:.1f}", flush=True)
    return {"n": n, "count": count, "dtype": "float32", **timing.to_dict()}


def main() -> None:
    parser = make_parser(__doc__, repeats=7)
    parser.add_argument("--count", type=int, default=100_000)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if SPDMatrices is None:
        print("geomstats is not installed: its rows are skipped")
    rows = [measure(n, options.count, options.repeats) for n in (2, 3)]
    write_json(options.output, rows, benchmark="polar coordinates of GL+(n); ratios are times over ours")


if __name__ == "__main__":
    main()
