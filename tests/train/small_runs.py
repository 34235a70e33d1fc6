"""A run small enough to be killed and resumed many times: real digits, a perceptron with dropout and batch norm."""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import erlangen.data
from erlangen._registry import encoders
from erlangen.objectives.supervised import CrossEntropy
from erlangen.train import Run, fit


@encoders.register("dropout_probe", summary="an encoder whose steps depend on the global random state")
class DropoutProbe(nn.Module):
    def __init__(self, width: int = 24, embedding_dim: int = 16) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.LazyLinear(width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(width, embedding_dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Jitter:
    """Views that draw from the generator they are given: g is a shift of brightness."""

    def __call__(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        g = 0.2 * torch.rand(len(x), generator=generator)
        return x, x + g.reshape(-1, 1, 1, 1), g

    def __repr__(self) -> str:
        return "Jitter()"


def small_digits(count: int = 300) -> Any:
    whole = erlangen.data.load("digits")
    x, label = whole.tensors(torch.arange(count))
    return erlangen.data.ArrayDataset(x, label, name="few digits")


def small_fit(out: str | Path | None, **options: Any) -> Run:
    arguments: dict[str, Any] = {
        "objective": CrossEntropy(),
        "views": Jitter(),
        "epochs": 4,
        "batch_size": 32,
        "lr": 5e-3,
        "quiet": True,
        "seed": 3,
    }
    encoder = options.pop("encoder", "dropout_probe")
    return fit(encoder, options.pop("data", None) or small_digits(), out=out, **(arguments | options))


if __name__ == "__main__":
    torch.set_num_threads(1)
    options = {key: eval(value) for key, value in (pair.split("=") for pair in sys.argv[2:])}
    small_fit(sys.argv[1], **options)
