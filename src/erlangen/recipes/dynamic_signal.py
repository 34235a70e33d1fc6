"""The dynamic signal: what locality and weight sharing save in samples, where the symmetry is known exactly."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from erlangen.audit.bias import sample_complexity
from erlangen.data import DynamicSignal
from erlangen.nn.patch_networks import ConvolutionalDSD, FullyConnectedDSD, LocallyConnectedDSD
from erlangen.recipes.claim import Claim
from erlangen.recipes.recipe import Budget, recipe

GRID: dict[str, tuple[int, ...]] = {
    "smoke": (16, 128),
    "laptop": (16, 64, 256, 1024, 4096),
    "full": (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192),
}
PATCHES: dict[str, tuple[int, ...]] = {"smoke": (4, 16), "laptop": (4, 16), "full": (4, 8, 16, 32)}
STEPS: dict[str, int] = {"smoke": 40, "laptop": 400, "full": 2_000}
DIM = 16
TARGET = 0.93
KINDS = {"cnn": ConvolutionalDSD, "lcn": LocallyConnectedDSD, "fcn": FullyConnectedDSD}


class TurnedPatches:
    """The task with the patches at each place rotated by a matrix of that place: local as before, shared no more."""

    def __init__(self, task: DynamicSignal, seed: int) -> None:
        self.task = task
        generator = torch.Generator().manual_seed(seed)
        self.turn = torch.linalg.qr(torch.randn(task.k, task.d, task.d, generator=generator)).Q

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        x, y = self.task.sample(n, generator=generator)
        return torch.einsum("kij,nkj->nki", self.turn, x), y

    def oracle_accuracy(self) -> float:
        return self.task.oracle_accuracy()


@recipe(
    "dynamic_signal",
    title="A signal at a random place: convolution needs fewer samples than local, local fewer than full connection",
    source="arXiv:2403.15707",
    claims=[
        Claim("4 patches: the convolutional network needs fewer samples than the local one", "lcn_cnn_4", "above"),
        Claim(
            "16 patches: the convolutional network needs at most a quarter of the local one's", "lcn_cnn_16", "above", 2
        ),
        Claim("16 patches: the local network needs fewer than the fully connected one", "fcn_lcn_16", "above"),
        Claim("16 patches: convolution saves at least a factor 4 over full connection", "fcn_cnn_16", "above", 2),
        Claim(
            "what convolution saves over locality grows with the number of patches", "lcn_cnn_16", "above", "lcn_cnn_4"
        ),
        Claim("what convolution saves over all grows with the number of patches", "fcn_cnn_16", "above", "fcn_cnn_4"),
        Claim(
            "where each place has a signal of its own, sharing weights does not pay",
            "turned.cnn_accuracy",
            "below",
            "turned.lcn_accuracy",
            control=True,
        ),
    ],
    uses=["erlangen.audit.bias.samples_needed", "erlangen.data.dynamic_signal", "erlangen.nn.patch_networks"],
    laptop_seeds=3,
    explanation=(
        "`n_*` are samples at which the test accuracy reaches 93 % of the oracle's, `a_b_k` the binary logarithm of the "
        "ratio of architecture a to b with k patches of dimension 16, noise 0.7 / sqrt(k). What is not reached counts "
        "as the largest n tried, 4,096, so that ratios are if anything too small. SGD with momentum; rate and length "
        "are chosen on 1,000 held-out samples, for each architecture alike. The bounds of the paper are for a two-phase "
        "algorithm with large steps, which is not used: the ordering is compared, not the rates."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Samples that each architecture needs, for few and many patches; then the control."""
    numbers: dict[str, float] = {}
    for k in PATCHES[budget]:
        task = DynamicSignal(k, DIM, seed=seed)
        oracle = task.oracle_accuracy()
        found = sample_complexity(
            {name: lambda kind=kind, k=k: kind(k, DIM) for name, kind in KINDS.items()},
            task,
            target=TARGET * oracle,
            n_grid=GRID[budget],
            seeds=2,
            steps=STEPS[budget],
            lrs=(0.03, 0.1, 0.3, 1.0),
            seed=seed,
        )
        log = {name: math.log2(min(finding.value, GRID[budget][-1])) for name, finding in found.items()}
        numbers |= {f"n_{name}_{k}": 2.0**value for name, value in log.items()}
        numbers |= {f"{a}_{b}_{k}": log[a] - log[b] for a, b in (("lcn", "cnn"), ("fcn", "lcn"), ("fcn", "cnn"))}
        numbers[f"oracle_{k}"] = oracle
    k = PATCHES[budget][-1]
    turned = sample_complexity(
        {name: lambda kind=KINDS[name]: kind(k, DIM) for name in ("cnn", "lcn")},
        TurnedPatches(DynamicSignal(k, DIM, seed=seed), seed),
        target=TARGET * numbers[f"oracle_{k}"],
        n_grid=GRID[budget][-2:-1] if budget != "smoke" else GRID[budget],
        seeds=2,
        steps=STEPS[budget],
        lrs=(0.03, 0.1, 0.3, 1.0),
        seed=seed,
    )
    numbers |= {f"turned.{name}_accuracy": finding.details["accuracy"][-1] for name, finding in turned.items()}
    return numbers
