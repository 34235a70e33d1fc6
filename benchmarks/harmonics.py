"""Spherical harmonics and Wigner matrices beside e3nn's, degree by degree, forward and with gradients.

python benchmarks/harmonics.py [--output harmonics.json] [--repeats 15]
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.harmonics import spherical_harmonics, wigner_D, wigner_D_from_angles
from harness import interleave, make_parser, write_json

E3NN_HARMONICS = 11  # the highest degree that e3nn has


def with_gradient(f: Callable[..., Tensor], *inputs: Tensor) -> Callable[[], None]:
    def run() -> None:
        torch.autograd.grad(f(*inputs).square().sum(), inputs)

    return run


def without(f: Callable[..., Tensor], *inputs: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.no_grad():
            return f(*inputs)

    return run


def report(row: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    rows.append(row)
    facts = "  ".join(f"{name} {value:.2f}x" for name, value in row["ratios"].items())
    print(f"{row['what']:10} l={row['degree']:2} batch={row['batch']:5} {row['mode']:8}: {facts}", flush=True)


def harmonics(repeats: int, rows: list[dict[str, Any]]) -> None:
    from e3nn import o3

    for batch in (100, 5_000):
        for degree in range(1, E3NN_HARMONICS + 1):
            x = torch.randn(batch, 3, requires_grad=True)

            def ours(x: Tensor, degree: int = degree) -> Tensor:
                return torch.cat(spherical_harmonics(degree, x, normalization="component"), -1)

            def theirs(x: Tensor, degree: int = degree) -> Tensor:
                return o3.spherical_harmonics(list(range(degree + 1)), x, True, "component")

            for mode, wrap in (("forward", without), ("gradient", with_gradient)):
                timing = interleave({"ours": wrap(ours, x), "e3nn": wrap(theirs, x)}, repeats)
                row = {"what": "harmonics", "degree": degree, "batch": batch, "mode": mode}
                report({**row, **timing.to_dict()}, rows)


def wigner(repeats: int, rows: list[dict[str, Any]]) -> None:
    from e3nn import o3

    for batch in (1, 100):
        for degree in range(1, 13):
            angles = tuple(torch.rand(batch, requires_grad=True) for _ in range(3))
            rotation = o3.angles_to_matrix(*angles).detach().requires_grad_()
            for mode, wrap in (("forward", without), ("gradient", with_gradient)):
                timing = interleave(
                    {
                        "from angles": wrap(lambda *a, degree=degree: wigner_D_from_angles(degree, *a), *angles),
                        "from matrices": wrap(lambda r, degree=degree: wigner_D(degree, r), rotation),
                        "e3nn": wrap(lambda *a, degree=degree: o3.wigner_D(degree, *a), *angles),
                    },
                    repeats,
                )
                row = {"what": "wigner D", "degree": degree, "batch": batch, "mode": mode}
                report({**row, **timing.to_dict()}, rows)


def first_call(rows: list[dict[str, Any]]) -> None:
    """The tables of degree 8, before anything is cached."""
    started = time.perf_counter()
    wigner_D(8, torch.eye(3))
    seconds = time.perf_counter() - started
    rows.append({"what": "first call", "degree": 8, "milliseconds": 1e3 * seconds, "ratios": {"ours": 1.0}})
    print(f"first call of wigner_D at degree 8: {1e3 * seconds:.0f} ms")


def main() -> None:
    parser = make_parser(__doc__, repeats=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rows: list[dict[str, Any]] = []
    first_call(rows)
    try:
        harmonics(options.repeats, rows)
        wigner(options.repeats, rows)
    except ImportError as error:
        print(f"e3nn is not installed ({error}): nothing to compare with")
    write_json(options.output, rows, benchmark="Spherical harmonics and Wigner matrices against e3nn")


if __name__ == "__main__":
    main()
