"""The infinite-width kernels of a thousand inputs beside neural-tangents: the same numbers, and how long they take.

.bench/neural_tangents/bin/python benchmarks/kernel_recursion.py [--output kernels.json] [--repeats 5] [--threads 1]
"""

import os
import time
from functools import partial
from typing import Any

import torch

from erlangen.audit.theory import ntk_recursion
from harness import interleave, make_parser, write_json


def peer(name: str, C_b: float, C_W: float, depth: int) -> Any:
    """The kernel function of neural-tangents, compiled."""
    import jax
    from neural_tangents import stax

    jax.config.update("jax_enable_x64", True)
    stages = {"relu": stax.Relu(), "erf": stax.Erf(), "gelu": stax.Gelu()}
    dense = stax.Dense(1, W_std=C_W**0.5, b_std=C_b**0.5)
    parts = [dense] + [part for _ in range(depth - 1) for part in (stages[name], dense)]
    kernel = stax.serial(*parts)[2]
    return jax.jit(lambda x: tuple(kernel(x, None, ("nngp", "ntk"))))


def ours(name: str, C_b: float, C_W: float, depth: int, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return ntk_recursion(name, C_b, C_W, depth, x, lambda_b=C_b, lambda_W=C_W, layers="last")


def main() -> None:
    parser = make_parser(__doc__, repeats=5)
    parser.add_argument("--points", type=int, default=1_000)
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--depth", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    flags = f"--xla_cpu_multi_thread_eigen={'true' if options.threads > 1 else 'false'}"
    os.environ["XLA_FLAGS"] = f"{flags} intra_op_parallelism_threads={options.threads}"
    x = torch.randn(options.points, options.features, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = []
    for name, C_b, C_W in (("relu", 0.1, 2.0), ("erf", 0.1, 1.5), ("gelu", 0.17, 1.98)):
        cases: dict[str, Any] = {"erlangen": partial(ours, name, C_b, C_W, options.depth, x)}
        same = None
        try:
            compiled = peer(name, C_b, C_W, options.depth)
        except ImportError:
            print("neural-tangents: skipped, it is not installed (benchmarks/environments.py neural_tangents)")
        else:
            import jax
            import numpy

            given = jax.numpy.asarray(x.numpy())
            cases["neural-tangents"] = lambda compiled=compiled, given=given: jax.block_until_ready(compiled(given))
            values = [numpy.asarray(part) for part in compiled(given)]
            mine = ours(name, C_b, C_W, options.depth, x)
            same = all(abs(m.numpy() / v - 1).max() < 1e-6 for m, v in zip(mine, values, strict=True))
        timing = interleave(cases, options.repeats, 1, clock=time.process_time)
        setting = {"activation": name, "points": options.points, "depth": options.depth, "same_values": same}
        rows.append({**setting, **timing.to_dict()})
        print(name, "same" if same else same, timing.ratios, flush=True)
    write_json(options.output, rows)


if __name__ == "__main__":
    main()
