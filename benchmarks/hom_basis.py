"""Bases of equivariant maps and their projection, beside emlp's null space and a dense projection matrix.

python benchmarks/hom_basis.py [--output hom_basis.json] [--repeats 7]

Permutation tensors: ours by set partitions beside the SVD of stacked generators. O(3): 5V -> 3V + 2T2 beside emlp's
solver where emlp is installed. Projection: a training step of a network, the penalty of soft equivariance, and the same
projection by the dense matrix P.
"""

from functools import partial

import torch

from erlangen.groups import parse, solve
from erlangen.groups.permutations import basis as permutation_basis
from erlangen.groups.representations import Rep
from erlangen.nn import SoftEquivariantMLP
from erlangen.objectives import EquivarianceRegularizer
from harness import interleave, make_parser, write_json


def fresh(source: Rep, target: Rep, method: solve.Method = "auto") -> object:
    """A basis from nothing: every cache is emptied first."""
    solve._atomic.cache_clear()
    solve._cached_projector.cache_clear()
    permutation_basis._orbits.cache_clear()
    return solve.hom_basis(source, target, method=method)


def permutation_tensors(repeats: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for n, k_in, k_out in [(4, 1, 1), (4, 2, 1), (4, 2, 2), (6, 2, 2), (10, 2, 2)]:
        group = parse(f"S{n}")
        v = group.standard()
        power = {1: v, 2: v @ v}
        source, target = power[k_in], power[k_out]
        cases = {"set partitions": partial(fresh, source, target)}
        if source.dim * target.dim <= 300:
            cases["generators, dense"] = partial(fresh, source, target, "generators")
        timing = interleave(cases, repeats=repeats, warmup=1)
        rank = len(solve.hom_basis(source, target))
        rows.append({"problem": f"S{n}: order {k_in} -> {k_out}", "rank": rank, **timing.to_dict()})
    return rows


def emlp_case() -> object | None:
    """emlp's basis for O(3) 5V -> 3V + 2T2 from nothing; None where emlp is not installed."""
    try:
        from emlp.groups import O
        from emlp.reps import T, V
    except ImportError:
        return None

    def solve_it() -> object:
        group = O(3)
        return (5 * V(group) >> (3 * V(group) + 2 * T(2)(group))).equivariant_basis()

    return solve_it


def rotations(repeats: int) -> list[dict[str, object]]:
    v = parse("O(3)").standard()
    t2 = v @ v
    rows: list[dict[str, object]] = []
    for name, source, target in [
        ("5V -> 3V + 2T2", 5 * v, 3 * v + 2 * t2),
        ("T2 -> T2", t2, t2),
        ("T3 -> T3", t2 @ v, t2 @ v),
    ]:
        cases: dict[str, object] = {"ours": partial(fresh, source, target)}
        peer = emlp_case() if name.startswith("5V") else None
        if peer is not None:
            cases["emlp"] = peer
        timing = interleave(cases, repeats=repeats, warmup=1)  # type: ignore[arg-type]
        rows.append({"problem": f"O(3): {name}", "rank": len(solve.hom_basis(source, target)), **timing.to_dict()})
    return rows


def penalty(repeats: int) -> list[dict[str, object]]:
    group = parse("O(3)")
    one, v = group.trivial(), group.standard()
    net = SoftEquivariantMLP(5 * one + 5 * v, v @ v, hidden=12 * one + 6 * v + 4 * (v @ v), depth=2)
    x = torch.randn(500, 20)
    regularizer = EquivarianceRegularizer(net, groups={"z": "SO(2)_z"})
    layer = net.layers[1]["linear"]  # type: ignore[index]
    hom = group.subgroup("SO(2)_z")
    p = solve.projector(layer.rep_in.restrict(hom), layer.rep_out.restrict(hom))
    q = p.basis.float()
    weight = layer.weight.detach()

    def step() -> None:
        net.zero_grad()
        net(x).square().mean().backward()

    def with_penalty() -> None:
        net.zero_grad()
        (net(x).square().mean() + regularizer.loss(1.0).total).backward()

    timing = interleave({"step": step, "step with one penalty": with_penalty}, repeats=repeats)
    rows: list[dict[str, object]] = [{"problem": "training step, batch 500", **timing.to_dict()}]
    timing = interleave(
        {"by parts": lambda: p(weight), "Q Qt, dense Q": lambda: q @ (q.mT @ weight.flatten())}, repeats=10 * repeats
    )
    rows.append({"problem": f"projection of {tuple(weight.shape)}, rank {p.rank}", **timing.to_dict()})
    return rows


def main() -> None:
    parser = make_parser(__doc__, repeats=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [*permutation_tensors(options.repeats), *rotations(options.repeats), *penalty(options.repeats)]
    for row in rows:
        medians = ", ".join(f"{name} {1e3 * value:.2f} ms" for name, value in row["medians"].items())  # type: ignore[attr-defined]
        print(f"{row['problem']}: {medians}")
    if emlp_case() is None:
        print("emlp is not installed: its solver is left out")
    write_json(options.output, rows)


if __name__ == "__main__":
    main()
