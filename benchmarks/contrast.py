"""NT-Xent, forward and backward: ours beside lightly, pytorch-metric-learning, a masked matrix and the bare products.

    python benchmarks/contrast.py [--full] [--repeats 5] [--threads 1] [--output contrast.json]

Peers that are not installed are left out. `masked` is cross-entropy over the whole matrix of logits with its diagonal at
minus infinity. The floor is what no implementation can avoid: the matrix of all products and its product with the batch.
All run interleaved in one process on the same inputs; the ratios are of medians of processor seconds.
"""

import functools
import importlib.util
import sys
import time
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from erlangen.objectives.contrastive import nt_xent
from harness import interleave, make_parser, write_json

SHAPES = [(128, 128), (256, 128), (512, 128)]
FULL = [*SHAPES, (1024, 128), (2048, 256)]
TEMPERATURE = 0.5
SLOW = 128  # pytorch-metric-learning takes seconds for more


def masked(z1: Tensor, z2: Tensor) -> Tensor:
    """Cross-entropy towards the partner."""
    n = len(z1)
    u = torch.nn.functional.normalize(torch.cat([z1, z2]), dim=1)
    logits = (u @ u.mT / TEMPERATURE).masked_fill(torch.eye(2 * n, dtype=torch.bool), -torch.inf)
    return torch.nn.functional.cross_entropy(logits, torch.arange(2 * n).roll(n))


def metric_learning() -> Callable[[Tensor, Tensor], Tensor] | None:
    """pytorch-metric-learning's `NTXentLoss` in its self-supervised wrapper."""
    if importlib.util.find_spec("pytorch_metric_learning") is None:
        return None
    from pytorch_metric_learning.losses import NTXentLoss, SelfSupervisedLoss

    return SelfSupervisedLoss(NTXentLoss(temperature=TEMPERATURE))


@functools.cache
def lightly() -> Callable[[Tensor, Tensor], Tensor] | None:
    """lightly's `NTXentLoss`, read from its file: the package wants torchvision, which the loss does not use."""
    place = importlib.util.find_spec("lightly")
    if place is None or place.origin is None:
        return None
    names = ("lightly", "lightly.utils", "lightly.utils.dist", "lightly.models", "lightly.models.utils")
    for name in (*names, "lightly.models.modules", "lightly.models.modules.memory_bank"):
        sys.modules.setdefault(name, types.ModuleType(name))
    # Of what the file imports, one process without a memory bank needs this much.
    sys.modules["lightly.utils"].dist = sys.modules["lightly.utils.dist"]  # type: ignore[attr-defined]
    sys.modules["lightly.utils.dist"].world_size = lambda: 1  # type: ignore[attr-defined]
    sys.modules["lightly.models"].utils = sys.modules["lightly.models.utils"]  # type: ignore[attr-defined]
    folder = Path(place.origin).parent
    _read(folder / "models" / "modules" / "memory_bank.py", "lightly.models.modules.memory_bank")
    return _read(folder / "loss" / "ntx_ent_loss.py", "lightly_ntxent").NTXentLoss(temperature=TEMPERATURE)


def _read(file: Path, name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def with_gradient(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], None]:
    def step(z1: Tensor, z2: Tensor) -> None:
        z1.grad = z2.grad = None
        loss(z1, z2).backward()

    return step


def floor(z1: Tensor, z2: Tensor) -> None:
    """The matrix products alone."""
    with torch.no_grad():
        u = torch.cat([z1, z2])
        (u @ u.mT) @ u


def measure(n: int, d: int, repeats: int) -> dict[str, object]:
    """One row; the values of all are compared first."""
    generator = torch.Generator().manual_seed(0)
    z1, z2 = (torch.randn(n, d, generator=generator).requires_grad_() for _ in range(2))
    losses = {"lightly": lightly(), "metric learning": metric_learning() if n <= SLOW else None, "masked": masked}
    losses["erlangen"] = lambda a, b: nt_xent(a, b, temperature=TEMPERATURE).total
    known = {name: loss for name, loss in losses.items() if loss is not None}
    values = {name: float(loss(z1, z2).detach()) for name, loss in known.items()}
    if max(values.values()) - min(values.values()) > 1e-4:
        raise RuntimeError(f"the losses differ: {values}")
    cases: dict[str, Callable[[], object]] = {
        name: partial(with_gradient(loss), z1, z2) for name, loss in known.items()
    }
    timing = interleave(
        {**cases, "bare products": partial(floor, z1, z2)}, repeats=repeats, warmup=1, clock=time.process_time
    )
    over_floor = timing.medians["erlangen"] / timing.medians["bare products"]
    return {"n": n, "d": d, "over_bare_products": over_floor, **timing.to_dict()}


def main() -> None:
    parser = make_parser(__doc__, repeats=5)
    parser.add_argument("--full", action="store_true", help="the large shapes too")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for n, d in FULL if arguments.full else SHAPES:
        rows.append(measure(n, d, arguments.repeats))
        print(
            n,
            d,
            {k: round(v, 3) for k, v in rows[-1]["ratios"].items()},
            round(rows[-1]["over_bare_products"], 2),
            flush=True,
        )
    write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
