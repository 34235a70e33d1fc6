"""VICReg, forward and backward: ours beside lightly, pytorch-metric-learning and the bare matrix products.

    python benchmarks/vicreg.py [--full] [--repeats 5] [--threads 1] [--output vicreg.json]

lightly's file is loaded by itself, because the package wants torchvision; a peer that is not installed is left out (their
environment: `environments.toml`). `masked` is the formula that both use: a covariance matrix, a boolean mask for its
off-diagonal entries. The floor is what no implementation can avoid: per view, two matrix products of
2 n d min(n, d) operations. All run interleaved in one process on the same inputs; the ratios are of medians.
"""

import functools
import importlib.util
import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from erlangen.objectives.functional import vicreg
from harness import interleave, make_parser, write_json

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


@functools.cache
def lightly() -> Callable[[Tensor, Tensor], Tensor] | None:
    """lightly's `VICRegLoss`, read from its file."""
    place = importlib.util.find_spec("lightly")
    if place is None or place.origin is None:
        return None
    # What the file imports from lightly gathers over processes; one process needs none of it.
    for name in ("lightly", "lightly.utils", "lightly.utils.dist"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["lightly.utils"].dist = sys.modules["lightly.utils.dist"]  # type: ignore[attr-defined]
    sys.modules["lightly.utils.dist"].gather = lambda x: (x,)  # type: ignore[attr-defined]
    file = Path(place.origin).parent / "loss" / "vicreg_loss.py"
    spec = importlib.util.spec_from_file_location("lightly_vicreg", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.VICRegLoss()


def metric_learning() -> Callable[[Tensor, Tensor], Tensor] | None:
    """pytorch-metric-learning's `VICRegLoss`."""
    if importlib.util.find_spec("pytorch_metric_learning") is None:
        return None
    from pytorch_metric_learning.losses import VICRegLoss

    loss = VICRegLoss()
    return lambda a, b: loss(a, ref_emb=b)


def measure(n: int, d: int, repeats: int) -> dict[str, object]:
    """One row: the reference is lightly where it is installed, else the formula with the mask."""
    generator = torch.Generator().manual_seed(0)
    z1, z2 = (torch.randn(n, d, generator=generator).requires_grad_() for _ in range(2))
    losses = {"lightly": lightly(), "metric learning": metric_learning(), "masked": masked}
    losses["erlangen"] = lambda a, b: vicreg(a, b).total
    cases: dict[str, Callable[[], object]] = {
        name: partial(with_gradient(loss), z1, z2) for name, loss in losses.items() if loss is not None
    }
    timing = interleave({**cases, "bare products": partial(floor, z1, z2)}, repeats=repeats, warmup=1)
    over_floor = timing.medians["erlangen"] / timing.medians["bare products"]
    return {"n": n, "d": d, "over_bare_products": over_floor, "flops": 8 * n * d * min(n, d), **timing.to_dict()}


def main() -> None:
    parser = make_parser(__doc__, repeats=5)
    parser.add_argument("--full", action="store_true", help="the large shapes too (gigabytes, minutes)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for n, d in FULL if arguments.full else SHAPES:
        rows.append(measure(n, d, arguments.repeats))
        print(n, d, {name: round(value, 3) for name, value in rows[-1]["ratios"].items()}, flush=True)
    write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
