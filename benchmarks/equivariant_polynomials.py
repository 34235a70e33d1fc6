"""All node-level polynomials up to five edges on a batch of graphs: shared steps beside one contraction for each.

python benchmarks/equivariant_polynomials.py [--output equivariant_polynomials.json] [--repeats 7] [--threads 1]

`einsum` evaluates every H by itself with `torch.einsum`, whose order of contraction is that of `opt_einsum` where it is
installed; `opt_einsum` carries out paths that were found before the clock started, which is what one would write by hand.
"""

import functools
from collections.abc import Callable

import torch

from erlangen.groups.graph_polynomials import PolynomialPlan
from erlangen.groups.multigraphs import Multigraph, multigraphs
from harness import interleave, make_parser, write_json

FAMILIES: dict[str, dict[str, object]] = {
    "simple": {"simple": True, "directed": False},
    "undirected with loops and multiplicities": {"directed": False},
}


def letters(graph: Multigraph) -> tuple[str, list[int]]:
    def name(node: int) -> str:
        return chr(ord("a") + node)

    parts = ["z" + name(u) + name(v) for u, v, _ in graph.edges]
    return f"{','.join(parts)}->z{''.join(map(name, graph.outputs))}", [c for _, _, c in graph.edges]


def one_by_one(graphs: list[Multigraph], x: torch.Tensor) -> list[torch.Tensor]:
    return [torch.einsum(formula, *(x[:, c] for c in used)) for formula, used in map(letters, graphs)]


def prepared(graphs: list[Multigraph], x: torch.Tensor) -> Callable[[], list[torch.Tensor]] | None:
    try:
        import opt_einsum
    except ImportError:
        print("opt_einsum is not installed: its rows are left out", flush=True)
        return None
    calls = []
    for graph in graphs:
        formula, used = letters(graph)
        operands = [x[:, c] for c in used]
        path = opt_einsum.contract_expression(formula, *(tuple(o.shape) for o in operands), optimize="optimal")
        calls.append(functools.partial(path, *operands))
    return lambda: [call() for call in calls]


def main() -> None:
    parser = make_parser(__doc__, repeats=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rows: list[dict[str, object]] = []
    upper = (torch.rand(128, 32, 32) < 0.2).float().triu(1)
    x = (upper + upper.mT)[:, None]
    for name, choice in FAMILIES.items():
        graphs = multigraphs(5, 1, connected=True, **choice)  # type: ignore[arg-type]
        plan = PolynomialPlan(graphs, symmetric=True)
        cases: dict[str, Callable[[], object]] = {"ours": lambda plan=plan: plan(x)}
        by_hand = prepared(graphs, x)
        if by_hand is not None:
            cases["opt_einsum"] = by_hand
        cases["einsum"] = lambda graphs=graphs: one_by_one(graphs, x)
        with torch.no_grad():
            timing = interleave(cases, options.repeats, 1)
        setting = {"family": name, "polynomials": len(graphs), "steps": plan.num_steps, "graphs": 128, "n": 32}
        rows.append({**setting, **timing.to_dict()})
        words = "  ".join(f"{k} {v * 1e3:8.1f} ms ({timing.ratios[k]:.1f}x)" for k, v in timing.medians.items())
        print(f"{name}, {len(graphs)} H, {plan.num_steps} steps: {words}", flush=True)
    hardest = max(graphs, key=lambda graph: graph.degree - 10 * graph.num_nodes)
    single = PolynomialPlan([hardest], symmetric=True)
    alone = prepared([hardest], x)
    if alone is not None:
        timing = interleave({"opt_einsum": alone, "ours": lambda: single(x)}, options.repeats)
        rows.append({"family": f"one H: {hardest}", "polynomials": 1, "graphs": 128, "n": 32, **timing.to_dict()})
        print(f"one H {hardest}: ours over opt_einsum {timing.ratios['ours']:.2f}", flush=True)
    write_json(options.output, rows, benchmark="equivariant polynomials, shared steps against separate contractions")


if __name__ == "__main__":
    main()
