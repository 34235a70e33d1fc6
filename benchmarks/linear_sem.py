"""Moments of many environments of a linear structural model: Woodbury's identity beside inverting each one.

    python benchmarks/linear_sem.py [--repeats 5] [--threads 1] [--output linear_sem.json]

There is no peer in Python that gives these moments. `inverting` solves `(I - B_e) A_e = I` for every environment,
batched, and multiplies `A_e V_e A_e^T`; `erlangen` updates the model's own covariance in the changed rows. `nine nodes`
asks for nine nodes only, as a search over features does.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from erlangen.audit.invariance import Interventions, LinearSEM
from harness import interleave, make_parser, write_json

SHAPES = [(50, 3, 64), (200, 3, 32), (200, 10, 32)]


def model(nodes: int) -> LinearSEM:
    generator = torch.Generator().manual_seed(0)
    B = torch.randn(nodes, nodes, generator=generator, dtype=torch.float64).tril(-1)
    keep = torch.rand(nodes, nodes, generator=generator) < 3 / nodes
    return LinearSEM(0.5 * B * keep, torch.ones(nodes, dtype=torch.float64), nodes // 2)


def inverting(sem: LinearSEM, env: Interventions) -> Tensor:
    B = sem.B.expand(len(env), -1, -1).clone()
    noise = sem.noise.expand(len(env), -1).clone()
    sites = list(env.sites)
    if env.rows is not None:
        B[:, sites] = env.rows
    noise[:, sites] = env.variance
    A = torch.linalg.inv(torch.eye(sem.nodes, dtype=B.dtype) - B)
    return (A * noise[:, None]) @ A.mT


def measure(nodes: int, sites: int, environments: int, repeats: int) -> dict[str, object]:
    """One row: the reference inverts every environment."""
    sem = model(nodes)
    generator = torch.Generator().manual_seed(1)
    chosen = [n for n in range(nodes) if n != sem.target][:sites]
    value = torch.rand(environments, sites, generator=generator, dtype=torch.float64)
    env = sem.intervene(chosen, "coefficient", value)
    cases: dict[str, Callable[[], object]] = {
        "inverting": lambda: inverting(sem, env),
        "erlangen": lambda: sem.mean_and_covariance(env),
        "nine nodes": lambda: sem.mean_and_covariance(env, nodes=list(range(9))),
    }
    error = float((inverting(sem, env) - sem.mean_and_covariance(env)[1]).abs().max())
    timing = interleave(cases, repeats=repeats, warmup=1)
    return {"nodes": nodes, "sites": sites, "environments": environments, "error": error, **timing.to_dict()}


def main() -> None:
    parser = make_parser(__doc__, repeats=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for nodes, sites, environments in SHAPES:
        rows.append(measure(nodes, sites, environments, arguments.repeats))
        print(nodes, sites, {name: round(1 / v, 1) for name, v in rows[-1]["ratios"].items()}, flush=True)
    write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
