"""Gaunt tensor products beside e3nn and cuequivariance: full products, all paths at equal function, growth, construction.

python benchmarks/gaunt_product.py [--output gaunt_product.json] [--repeats 9] [--degrees 1 2 4 8]
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from erlangen.groups import S2Grid
from erlangen.nn.points import GauntTensorProduct, TensorProduct
from erlangen.nn.points.gaunt_routes import ROUTES
from erlangen.nn.points.interaction import functions
from erlangen.nn.points.sphere_types import product_type, sphere_type
from harness import interleave, make_parser, write_json

BATCH = 2_000
GROWTH = {
    "direct": (2, 4, 6, 8, 10),
    "grid": (2, 4, 6, 8, 12, 16),
    "split": (2, 4, 6, 8, 12, 16),
    "separable": (2, 4, 6, 8, 12, 16),
    "fourier": (2, 4, 6, 8, 12, 16),
}


def gradients(module: Callable[..., Any], inputs: tuple[Tensor, ...]) -> None:
    out = module(*inputs)
    torch.autograd.grad(out, inputs, torch.ones_like(out))


def saved_megabytes(module: Callable[..., Any], inputs: tuple[Tensor, ...]) -> float:
    """What autograd keeps for the backward pass, and the output itself."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = module(*inputs)
    kept[out.untyped_storage().data_ptr()] = out.untyped_storage().nbytes()
    return sum(kept.values()) / 2**20


def plain_grid(degree: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The grid route as one would first write it: Gauss-Legendre by equal azimuths, one matrix there and one back."""
    grid = S2Grid(2 * degree)
    there = grid.matrix(degree).float()
    back = (grid.matrix() * grid.weights.flatten()).mT.float()
    return lambda x, y: ((x @ there) * (y @ there)) @ back


def cue_full(degree: int) -> nn.Module | None:
    try:
        import cuequivariance as cue
        import cuequivariance_torch as cuet
    except ImportError as error:
        print(f"cuequivariance-torch is not installed ({error}): left out")
        return None
    irreps = cue.Irreps("O3", functions(degree))
    product = cue.descriptors.full_tensor_product(irreps, irreps)
    polynomial = cuet.SegmentedPolynomial(product.polynomial, method="naive", math_dtype=torch.float32)

    class Full(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = polynomial

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.inner([x, y])[0]

    return Full()


def report(row: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    rows.append(row)
    facts = "  ".join(f"{name} {value:.2f}x" for name, value in row["ratios"].items())
    print(f"{row['what']:14} l={row['degree']}: {facts}", flush=True)


def full_products(degrees: list[int], repeats: int, rows: list[dict[str, Any]]) -> None:
    """The product of two functions with all of its output beside e3nn's and cuequivariance's products of all paths."""
    from e3nn import o3

    for degree in degrees:
        irreps = o3.Irreps.spherical_harmonics(degree)
        x, y = (torch.randn(BATCH, irreps.dim, requires_grad=True) for _ in range(2))
        a, b = (t.detach()[:, None].requires_grad_() for t in (x, y))
        ours = GauntTensorProduct(functions(degree), functions(degree), weight="none")
        theirs = o3.FullTensorProduct(irreps, irreps)
        cases: dict[str, Callable[[], None]] = {
            "ours": lambda ours=ours, a=a, b=b: gradients(ours, (a, b)),
            "e3nn": lambda theirs=theirs, x=x, y=y: gradients(theirs, (x, y)),
            "plain grid": lambda plain=plain_grid(degree), x=x, y=y: gradients(plain, (x, y)),
        }
        cue = cue_full(degree) if degree <= 6 else None
        if cue is not None:
            cases["cuequivariance"] = lambda cue=cue, x=x, y=y: gradients(cue, (x, y))
        timing = interleave(cases, repeats)
        memory = saved_megabytes(theirs, (x, y)) / saved_megabytes(ours, (a, b))
        row = {"what": "full product", "degree": degree, "batch": BATCH, "route": ours.method, "memory_ratio": memory}
        report({**row, **timing.to_dict()}, rows)
        print(f"{'':14} route {ours.method}, e3nn keeps {memory:.1f}x the memory")


def equal_function(repeats: int, rows: list[dict[str, Any]]) -> None:
    """The same paths with the same weights on both sides."""
    from e3nn import o3

    for degree in (1, 2, 3, 4):
        terms = functions(degree)
        odd = "+".join(f"{l}{'oe'[l % 2]}" for l in range(degree + 1))
        ours = TensorProduct(terms, terms, f"{terms}+{odd.partition('+')[2]}", connection="channels")
        instructions = [(*path, "uuu", True) for path in ours.paths]
        theirs = o3.TensorProduct(repr(ours.first), repr(ours.second), repr(ours.out), instructions)
        x, y = (torch.randn(BATCH, ours.first.dim, requires_grad=True) for _ in range(2))
        timing = interleave(
            {
                "ours": lambda ours=ours, x=x, y=y: gradients(ours, (x, y)),
                "e3nn": lambda theirs=theirs, x=x, y=y: gradients(theirs, (x, y)),
            },
            repeats,
        )
        report({"what": "all paths", "degree": degree, "batch": BATCH, **timing.to_dict()}, rows)
    for degree in (1, 2, 3):
        wide = functions(degree, 16)
        ours = TensorProduct(wide, functions(degree), wide)
        theirs = o3.FullyConnectedTensorProduct(wide, functions(degree), wide)
        x, y = (torch.randn(500, i.dim, requires_grad=True) for i in (ours.first, ours.second))
        timing = interleave(
            {
                "ours": lambda ours=ours, x=x, y=y: gradients(ours, (x, y)),
                "e3nn": lambda theirs=theirs, x=x, y=y: gradients(theirs, (x, y)),
            },
            repeats,
        )
        report({"what": "connected x16", "degree": degree, "batch": 500, **timing.to_dict()}, rows)


def growth(repeats: int, rows: list[dict[str, Any]]) -> None:
    """How the time of every route grows with the degree; slopes of log time from degree 4 on."""
    batch = 300
    measured: dict[str, dict[int, float]] = {name: {} for name in GROWTH}
    for degree in (2, 4, 6, 8, 10, 12, 16):
        kind = sphere_type(functions(degree), "functions")
        out = product_type(kind, kind, None)
        x, y = (torch.randn(batch, kind.dim, requires_grad=True) for _ in range(2))
        routes = {
            name: ROUTES[name](kind, kind, out)
            for name in ("grid", "split", "separable", "fourier", "direct")
            if degree in GROWTH[name]
        }
        if not routes:
            continue
        timing = interleave({n: lambda r=r, x=x, y=y: gradients(r, (x, y)) for n, r in routes.items()}, repeats)
        for name, seconds in timing.medians.items():
            measured[name][degree] = seconds
        report({"what": "routes", "degree": degree, "batch": batch, **timing.to_dict()}, rows)
    slopes = {}
    for name, seconds in measured.items():
        points = [(l, s) for l, s in seconds.items() if l >= 4]
        logs = torch.tensor(points, dtype=torch.float64).log()
        centred = logs - logs.mean(0)
        slopes[name] = float((centred[:, 0] * centred[:, 1]).sum() / centred[:, 0].square().sum())
    rows.append({"what": "slopes", "degree": 16, "ratios": slopes})
    print("slopes of log time from degree 4 on: " + "  ".join(f"{n} {s:.2f}" for n, s in slopes.items()))


def construction(rows: list[dict[str, Any]]) -> None:
    """Building the layers of degree 8, the second time (tables are kept) and the first."""
    from e3nn import o3

    def seconds(build: Callable[[], object]) -> float:
        started = time.perf_counter()
        build()
        return time.perf_counter() - started

    irreps = o3.Irreps.spherical_harmonics(8)
    first = seconds(lambda: GauntTensorProduct(functions(8), functions(8)))
    again = seconds(lambda: GauntTensorProduct(functions(8), functions(8)))
    theirs = seconds(lambda: o3.FullTensorProduct(irreps, irreps))
    row = {"what": "construction", "degree": 8, "milliseconds_first": 1e3 * first, "milliseconds_again": 1e3 * again}
    report({**row, "ratios": {"ours": 1.0, "e3nn": theirs / first}}, rows)
    print(f"{'':14} ours {1e3 * first:.0f} ms the first time, {1e3 * again:.0f} ms after; e3nn {1e3 * theirs:.0f} ms")


def main() -> None:
    parser = make_parser(__doc__, repeats=9)
    parser.add_argument("--degrees", type=int, nargs="+", default=[1, 2, 4, 8])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rows: list[dict[str, Any]] = []
    try:
        construction(rows)
        full_products(options.degrees, options.repeats, rows)
        equal_function(options.repeats, rows)
    except ImportError as error:
        print(f"e3nn is not installed ({error}): the comparisons with it are left out")
    growth(options.repeats, rows)
    write_json(options.output, rows, benchmark="Gaunt tensor products against e3nn and cuequivariance, with gradients")


if __name__ == "__main__":
    main()
