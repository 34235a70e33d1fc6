"""Exact inductive bias beside the released recipe: gradient descent for the posterior, draws, and a fitted law.

    python benchmarks/inductive_bias.py [--epochs 10000] [--repeats 2] [--threads 1] [--output inductive_bias.json]

`descent` solves both linear systems of the posterior by Adam for `epochs` epochs, draws 10,000 functions and fits a scaled
non-central chi-square with scipy's `ncx2.fit`. Errors of the posterior's mean are against the direct solution in float64.
Ratios are of medians of the processor's seconds.
"""

import math
import time
from functools import partial

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from erlangen.audit.bias import inductive_bias, interpolants
from erlangen.audit.bias.posterior import rbf
from harness import interleave, make_parser, write_json

TRAIN, TEST, BANDWIDTH, EPS, DRAWS = 500, 100, 2.0, 0.1, 10_000


def descend(gram: Tensor, wanted: Tensor, epochs: int) -> Tensor:
    """The solution of `gram a = wanted` by Adam on the mean squared residual."""
    a = torch.zeros_like(wanted, requires_grad=True)
    rule = torch.optim.Adam([a], lr=1e-2)
    for _ in range(epochs):
        rule.zero_grad()
        (gram @ a - wanted).square().mean().backward()
        rule.step()
    return a.detach()


def by_descent(x: Tensor, y: Tensor, x_test: Tensor, y_test: Tensor, epochs: int, found: dict[str, float]) -> None:
    from scipy.stats import ncx2

    x, y, x_test, y_test = (t.float() for t in (x, y, x_test, y_test))
    kernel = rbf(BANDWIDTH)
    between = kernel(x, x_test)
    solved = descend(kernel(x, x), torch.cat([y, between], 1), epochs)
    mean = between.T @ solved[:, : y.shape[1]]
    covariance = kernel(x_test, x_test) - between.T @ solved[:, y.shape[1] :]
    values, vectors = torch.linalg.eigh((covariance + covariance.T).double() / 2)
    root = vectors * values.clamp(min=0).sqrt()
    errors = torch.cat(
        [
            (mean + root @ torch.randn(100, *mean.shape).double() - y_test).square().mean((1, 2))
            for _ in range(DRAWS // 100)
        ]
    )
    df, nc, _, scale = ncx2.fit(errors.numpy(), floc=0)
    found["bits"] = float(-ncx2.logcdf(EPS, df, nc, scale=scale)) / math.log(2)
    found["mean"] = mean  # type: ignore[assignment]


def main() -> None:
    parser = make_parser(__doc__, repeats=2)
    parser.add_argument("--epochs", type=int, default=10_000)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pixels, label = load_digits(return_X_y=True)
    order = torch.randperm(len(label), generator=torch.Generator().manual_seed(0))
    x = (torch.as_tensor(pixels) / 16)[order]
    y = torch.nn.functional.one_hot(torch.as_tensor(label), 10).double()[order]
    data = x[TEST : TEST + TRAIN], y[TEST : TEST + TRAIN], x[:TEST], y[:TEST]
    found: dict[str, float] = {}
    cases = {
        "exact": partial(inductive_bias, *data, eps=EPS, bandwidth=BANDWIDTH),
        "descent": partial(by_descent, *data, options.epochs, found),
    }
    timing = interleave(cases, options.repeats, 0, time.process_time)
    exact = inductive_bias(*data, eps=EPS, bandwidth=BANDWIDTH).value
    through = interpolants(*data[:3], kernel=rbf(BANDWIDTH))
    apart = float((found["mean"] - through.mean).abs().max())  # type: ignore[operator, attr-defined]
    row = {"train": TRAIN, "test": TEST, "epochs": options.epochs, "bits": exact, "bits_by_descent": found["bits"]}
    rows = [{**row, "error_of_the_mean_by_descent": apart, **timing.to_dict()}]
    print({k: v for k, v in rows[0].items() if not isinstance(v, dict)}, timing.medians, timing.ratios)
    write_json(options.output, rows)


if __name__ == "__main__":
    main()
