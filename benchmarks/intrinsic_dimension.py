"""The dimension of 20,000 points beside scikit-dimension and dadapy: the same number, and how long it takes.

.bench/dimension/bin/python benchmarks/intrinsic_dimension.py [--output dimension.json] [--repeats 2] [--peers dadapy]
"""

import time
from collections.abc import Callable
from functools import partial

import torch

from erlangen.stats.intrinsic_dimension import estimate
from harness import interleave, make_parser, write_json

AGREE = 1e-6


def peers(x: torch.Tensor, method: str) -> dict[str, Callable[[], float]]:
    """The same estimate by the packages that are installed."""
    found: dict[str, Callable[[], float]] = {}
    rows = x.numpy()
    try:
        from skdim.id import MLE, TwoNN
    except ImportError:
        print("scikit-dimension: skipped, it is not installed (benchmarks/environments.py dimension)")
    else:
        # 20 neighbours, and the aggregate of MacKay and Ghahramani
        found["scikit-dimension"] = (
            (lambda: float(TwoNN().fit(rows).dimension_))
            if method == "twonn"
            else (lambda: float(MLE().fit(rows, n_neighbors=20, comb="mle").dimension_))
        )
    if method == "twonn":
        try:
            from dadapy import IdEstimation
        except ImportError:
            print("dadapy: skipped, it is not installed (benchmarks/environments.py dimension)")
        else:
            found["dadapy"] = lambda: float(IdEstimation(coordinates=rows, n_jobs=1).compute_id_2NN()[0])
            # told to look for no more neighbours than the estimate needs
            found["dadapy, maxk=3"] = lambda: float(
                IdEstimation(coordinates=rows, maxk=3, n_jobs=1).compute_id_2NN()[0]
            )
    return found


def measure(
    points: int, features: int, method: str, repeats: int, beside: list[str], surface: int
) -> dict[str, object]:
    generator = torch.Generator().manual_seed(0)
    if surface:  # data as such estimates are made for: a bent surface of few dimensions in many features
        latent = torch.rand(points, surface, generator=generator, dtype=torch.float64)
        x = torch.sin(2 * latent @ torch.randn(surface, features, generator=generator, dtype=torch.float64))
    else:
        x = torch.randn(points, features, generator=generator, dtype=torch.float64)
    cases: dict[str, Callable[[], float]] = {"erlangen": partial(estimate, x, method, k=20)}
    cases |= {name: call for name, call in peers(x, method).items() if name.split(",")[0] in beside}
    values: dict[str, float] = {}

    def keep(name: str, call: Callable[[], float]) -> None:
        values[name] = call()

    timed = {name: partial(keep, name, call) for name, call in cases.items()}
    cases["erlangen"]()  # the peers are too slow to be warmed up as well
    timing = interleave(timed, repeats, 0, clock=time.process_time)
    same = all(abs(v - values["erlangen"]) < AGREE * abs(v) for v in values.values())
    setting = {"points": points, "features": features, "surface": surface, "method": method, "same_values": same}
    print(points, features, surface, method, "same" if same else values, timing.ratios, flush=True)
    return {**setting, "values": values, **timing.to_dict()}


def main() -> None:
    parser = make_parser(__doc__, repeats=2)
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--features", type=int, nargs="+", default=[5, 30, 512])
    parser.add_argument("--surfaces", type=int, nargs="+", default=[0, 4], help="0: points that fill all features")
    parser.add_argument("--methods", nargs="+", default=["twonn", "mle"])
    parser.add_argument("--peers", nargs="+", default=["scikit-dimension", "dadapy"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [
        measure(options.points, features, method, options.repeats, options.peers, surface)
        for features in options.features
        for surface in options.surfaces
        if surface < features
        for method in options.methods
        if not (method == "mle" and features > 100)
    ]
    write_json(options.output, rows)


if __name__ == "__main__":
    main()
