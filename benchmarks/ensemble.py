"""Training 64 small networks together beside training them one after the other.

python benchmarks/ensemble.py [--output ensemble.json] [--repeats 3] [--threads 1]

Ratios are of medians of the processor's seconds.
"""

import copy
import time
from functools import partial

import torch
from torch import nn

from erlangen.train.ensemble import fit_ensemble
from harness import interleave, make_parser, write_json


def network(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))


def loop(models: list[nn.Module], x: torch.Tensor, y: torch.Tensor, steps: int) -> None:
    for model in models:
        one = copy.deepcopy(model)
        optimizer = torch.optim.Adam(one.parameters(), 1e-3)
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(one(x), y).backward()
            optimizer.step()


def main() -> None:
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--members", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for width, batch in ((16, 16), (32, 32), (64, 64)):
        models = [network(width) for _ in range(options.members)]
        x, y = torch.randn(batch, 20), torch.randint(10, (batch,))
        together = partial(fit_ensemble, models, x, y, steps=options.steps)
        cases = {"loop": partial(loop, models, x, y, options.steps), "together": together}
        timing = interleave(cases, options.repeats, 1, time.process_time)
        rows.append({"members": options.members, "width": width, "batch": batch, **timing.to_dict()})
        print(width, batch, timing.ratios, flush=True)
    write_json(options.output, rows)


if __name__ == "__main__":
    main()
