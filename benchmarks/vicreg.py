"""VICReg, forward and backward: ours beside the masked covariance of the peers and beside the bare matrix products.

    python benchmarks/vicreg.py [--full] [--repeats 5] [--threads 1] [--output vicreg.json]

The peer's formula is the one that lightly 1.6.0 and pytorch-metric-learning 2.9.0 use: a covariance matrix, a boolean
mask for its off-diagonal entries. The floor is what no implementation can avoid: per view, two matrix products of
2 n d min(n, d) operations. All run interleaved in one process on the same inputs; the ratios are of medians.
"""

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from erlangen.objectives.functional import vicreg
from harness import interleave, write_json

SHAPES = [(256, 2048), (1024, 1024), (4096, 256)]
FULL = [*SHAPES, (256, 8192), (2048, 8192)]


def masked(z1: Tensor, z2: Tensor) -> Tensor:
    """The peers' formula with an off-diagonal mask."""
    n, d = z1.shape
    off = ~torch.eye(d, dtype=torch.bool, device=z1.device)
    total = 25 * torch.nn.functional.mse_loss(z1, z2)
    for z in (z1, z2):
        z = z - z.mean(0)
        total = total + 12.5 * torch.relu(1 - torch.sqrt(z.var(0) + 1e-4)).mean()
        covariance = torch.einsum("bi,bj->ij", z, z) / (n - 1)
        total = total + covariance[off].pow(2).sum() / d
    return total


def with_gradient(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], None]:
    def step(z1: Tensor, z2: Tensor) -> None:
        z1.grad = z2.grad = None
        loss(z1, z2).backward()

    return step


def floor(z1: Tensor, z2: Tensor) -> None:
    """The matrix products alone: a Gram matrix of the smaller side, and its product with the batch."""
    n, d = z1.shape
    with torch.no_grad():
        for z in (z1, z2):
            if n < d:
                (z @ z.mT) @ z
            else:
                z @ (z.mT @ z)


def measure(n: int, d: int, repeats: int) -> dict[str, float]:
    """Median seconds of the three on one shape, and the ratios that matter."""
    generator = torch.Generator().manual_seed(0)
    z1, z2 = (torch.randn(n, d, generator=generator).requires_grad_() for _ in range(2))
    ours, peer = with_gradient(lambda a, b: vicreg(a, b).total), with_gradient(masked)
    cases = {"ours": lambda: ours(z1, z2), "masked": lambda: peer(z1, z2), "floor": lambda: floor(z1, z2)}
    t = interleave(cases, repeats=repeats, warmup=1).medians
    return {"n": n, "d": d, **t, "ours/masked": t["ours"] / t["masked"], "ours/floor": t["ours"] / t["floor"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the large shapes too (gigabytes, minutes)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", help="a JSON file for the rows")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for n, d in FULL if arguments.full else SHAPES:
        rows.append(measure(n, d, arguments.repeats))
        print("  ".join(f"{key} {value:.4g}" for key, value in rows[-1].items()))
    write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
