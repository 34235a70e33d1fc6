"""Permutation tensors: bases without loops or SVD, and a 2 -> 2 layer beside a plain port of the fifteen maps.

python benchmarks/permutation_tensors.py [--output permutation_tensors.json] [--repeats 15] [--threads 1]

`loops` builds the orbit basis as the reference implementation of universal graph networks does, by visiting every entry of
every basis matrix; `svd` finds the basis as a null space. `port` computes all fifteen maps, stacks them and contracts the
stack with the weights, as the released implementations of invariant graph networks do.
"""

import itertools
import time

import torch
from torch import nn

from erlangen.groups.permutations import basis, perm_hom_basis
from erlangen.nn.graphs import EquivariantLinear
from harness import interleave, make_parser, write_json


def loops(n: int, k_in: int, k_out: int) -> torch.Tensor:
    """Orbit indicators, entry by entry."""
    seen: dict[tuple[int, ...], int] = {}
    rows = []
    for at in itertools.product(range(n), repeat=k_in + k_out):
        first: dict[int, int] = {}
        pattern = tuple(first.setdefault(i, len(first)) for i in at)
        rows.append(seen.setdefault(pattern, len(seen)))
    out = torch.zeros(len(seen), n ** (k_in + k_out))
    for place, row in enumerate(rows):
        out[row, place] = 1.0
    return out


def svd(n: int, k_in: int, k_out: int) -> torch.Tensor:
    """The null space of the constraints of two generators of S_n."""
    constraints = []
    swap, turn = torch.arange(n), torch.arange(n).roll(1)
    swap[:2] = torch.tensor([1, 0])
    for g in (swap, turn):
        p = torch.eye(n, dtype=torch.float64)[g]
        whole = torch.ones(1, 1, dtype=torch.float64)
        for _ in range(k_in + k_out):
            whole = torch.kron(whole, p)
        constraints.append(whole - torch.eye(len(whole), dtype=torch.float64))
    _, values, vectors = torch.linalg.svd(torch.cat(constraints))
    return vectors[values < 1e-8]


class FifteenMaps(nn.Module):
    """A plain port: the fifteen maps of an [n, n] matrix one by one, stacked, contracted with the weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, channels, 15) * (15 * channels) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(2, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = x.shape[-1]
        diagonal = torch.diagonal(x, dim1=-2, dim2=-1)
        trace = diagonal.sum(-1, keepdim=True) / n
        rows, columns = x.sum(-1) / n, x.sum(-2) / n
        total = x.sum((-2, -1)) / n**2
        square = x.shape
        maps = [
            torch.diag_embed(diagonal),
            torch.diag_embed(trace.expand_as(diagonal)),
            torch.diag_embed(rows),
            torch.diag_embed(columns),
            torch.diag_embed(total[..., None].expand_as(diagonal)),
            columns[..., None, :].expand(square),
            rows[..., None, :].expand(square),
            columns[..., :, None].expand(square),
            rows[..., :, None].expand(square),
            x,
            x.mT,
            diagonal[..., None, :].expand(square),
            diagonal[..., :, None].expand(square),
            trace[..., None].expand(square),
            total[..., None, None].expand(square),
        ]
        mixed = torch.einsum("dsb,ndbij->nsij", self.weight, torch.stack(maps, 2))
        eye = torch.eye(n, device=x.device, dtype=x.dtype)
        return mixed + self.bias[0][:, None, None] + self.bias[1][:, None, None] * eye


def cold(n: int, k_in: int, k_out: int) -> torch.Tensor:
    """The basis with nothing kept from an earlier call about this n."""
    basis._orbits.cache_clear()
    return perm_hom_basis(n, k_in, k_out, dtype=torch.float32)


def construction(repeats: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for n, k_in, k_out in ((10, 2, 2), (10, 3, 1), (8, 0, 4), (5, 2, 3), (4, 3, 3), (3, 4, 4), (10, 2, 3)):
        entries = n ** (k_in + k_out)
        peers = {"ours": lambda n=n, a=k_in, b=k_out: cold(n, a, b)}
        timing = interleave(peers, repeats)
        medians, ratios = dict(timing.medians), {"ours": 1.0}
        started = time.perf_counter()
        loops(n, k_in, k_out)
        medians["loops"] = time.perf_counter() - started
        if entries <= 1_100:
            started = time.perf_counter()
            svd(n, k_in, k_out)
            medians["svd"] = time.perf_counter() - started
        ratios |= {name: medians[name] / medians["ours"] for name in medians}
        setting = {"what": "basis", "n": n, "k_in": k_in, "k_out": k_out}
        rows.append({**setting, "medians": medians, "ratios": ratios, "repeats": repeats})
        words = "  ".join(f"{name} {seconds * 1e3:9.2f} ms ({ratios[name]:.0f}x)" for name, seconds in medians.items())
        print(f"basis n={n} {k_in}->{k_out}: {words}", flush=True)
    return rows


def layers(repeats: int) -> list[dict[str, object]]:
    torch.manual_seed(0)
    ours, port = EquivariantLinear(2, 2, 16, 16), FifteenMaps(16)
    x = torch.randn(32, 16, 40, 40, requires_grad=True)

    def both_ways(layer: nn.Module) -> None:
        layer.zero_grad()
        layer(x).square().mean().backward()

    rows: list[dict[str, object]] = []
    for mode in ("forward", "forward and backward"):
        if mode == "forward":
            with torch.no_grad():
                timing = interleave({"ours": lambda: ours(x), "port": lambda: port(x)}, repeats)
        else:
            timing = interleave({"ours": lambda: both_ways(ours), "port": lambda: both_ways(port)}, repeats)
        rows.append({"what": "layer 2 -> 2", "batch": 32, "channels": 16, "n": 40, "mode": mode, **timing.to_dict()})
        print(
            f"layer 2->2 [32, 16, 40, 40] {mode}: ours {timing.medians['ours'] * 1e3:.1f} ms, "
            f"port {timing.medians['port'] * 1e3:.1f} ms, ratio {timing.ratios['port']:.2f}",
            flush=True,
        )
    return rows


def main() -> None:
    parser = make_parser(__doc__, repeats=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = construction(options.repeats) + layers(options.repeats)
    write_json(options.output, rows, benchmark="permutation tensors against loops, SVD and a port of the fifteen maps")


if __name__ == "__main__":
    main()
