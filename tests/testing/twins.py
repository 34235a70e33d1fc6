"""Models with a symmetry, and twins in which one deliberate mistake breaks it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from erlangen.groups.symmetry import Symmetry


class Egnn(nn.Module):
    """An EGNN layer (Satorras et al., 2021, arXiv 2102.09844) with a switch for each mistake."""

    def __init__(self, mistake: str = "") -> None:
        super().__init__()
        self.mistake = mistake
        self.edge = nn.Sequential(nn.Linear(1, 8), nn.SiLU(), nn.Linear(8, 1))
        self.dropout = nn.Dropout(0.5)
        self.register_buffer("axis", torch.tensor([0.0, 0.0, 1.0]))
        self.zero_axis = nn.Parameter(torch.zeros(3))
        self.norm = nn.LayerNorm(3) if mistake == "norm" else nn.BatchNorm1d(3)
        self.act = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        m = self.mistake
        away = x[:, None] - x[None]
        squared = away.pow(2).sum(-1, keepdim=True)
        if m == "island":
            squared = away.float().pow(2).sum(-1, keepdim=True).to(x.dtype)
        weight = self.edge(squared)
        if m == "dropout":
            weight = self.dropout(weight)
        if m == "neighbours":
            keep = squared[..., 0].argsort(-1)[:, 1:3]
            weight = weight * torch.zeros_like(weight).scatter(1, keep[..., None], 1.0)
        step = (away * weight).mean(1)
        if m == "norm":
            step = self.norm(step)
        if m == "activation":
            step = self.act(step)
        if m == "batchnorm":
            step = self.norm(step)
        if m == "gravity":
            step = step + self.axis * step.norm(dim=-1, keepdim=True)
        if m == "zero parameter":
            step = step + self.zero_axis
        if m == "leak":
            step = step + 1e-3 * step[:, :1] * self.axis
        if m == "cross":
            step = step + torch.linalg.cross(step, x - x.mean(0), dim=-1)
        if m == "no centroid":
            return step + x - x.mean(0)
        if m == "absolute":
            return x + step * x.norm(dim=-1, keepdim=True)
        return x + step


class DeepSet(nn.Module):
    """A permutation-invariant network with a switch for each mistake."""

    def __init__(self, mistake: str = "", n: int = 6) -> None:
        super().__init__()
        self.mistake = mistake
        self.inner = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
        self.outer = nn.Linear(8, 3)
        self.position = nn.Parameter(torch.zeros(n, 4) if mistake == "zero positions" else torch.randn(n, 4))
        self.lstm = nn.LSTM(8, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.mistake in ("positions", "zero positions"):
            x = x + self.position
        h = self.inner(x)
        if self.mistake == "last":
            return self.outer(h[..., -1, :])
        if self.mistake == "recurrent":
            return self.outer(self.lstm(h)[0].mean(-2))
        if self.mistake == "constant":
            return self.outer(torch.zeros_like(h.mean(-2)))
        return self.outer(h.mean(-2))


@dataclass
class Twin:
    """A broken model: its verdict, and a word that its cause, its note or its risk must contain."""

    name: str
    model: Any
    group: str
    input: Any
    output: Any
    verdict: str
    word: str
    train: bool = False

    @property
    def symmetry(self) -> Symmetry:
        return Symmetry(self.group, self.input, self.output)


def egnn(mistake: str, group: str, verdict: str, word: str, train: bool = False) -> Twin:
    return Twin(mistake, Egnn(mistake), group, "points", "points", verdict, word, train)


def twins() -> list[Twin]:
    torch.manual_seed(0)
    return [
        egnn("norm", "E(3)", "broken", "normalisation over the components"),
        egnn("activation", "E(3)", "broken", "nonlinearity on the components"),
        egnn("batchnorm", "E(3)", "broken", "normalisation over the components", train=True),
        egnn("gravity", "SE(3)", "broken", "rotations about the z axis"),
        egnn("leak", "SE(3)", "approximate", "orientation"),
        egnn("cross", "E(3)", "broken", "reflections"),
        egnn("no centroid", "SE(3)", "broken", "add the centroid back"),
        egnn("absolute", "E(3)", "broken", "absolute positions"),
        egnn("dropout", "E(3)", "broken", "random layers", train=True),
        egnn("island", "SE(3)", "approximate", "float32 island"),
        egnn("zero parameter", "SE(3)", "exact", "perturbed parameters"),
        egnn("neighbours", "E(3)", "exact", "tied inputs"),
        Twin("positions", DeepSet("positions"), "S(n)", "rows", "invariant", "broken", "order of the rows"),
        Twin("zero positions", DeepSet("zero positions"), "S(n)", "rows", "invariant", "exact", "perturbed parameters"),
        Twin("last", DeepSet("last"), "S(n)", "rows", "invariant", "broken", "order of the rows"),
        Twin("recurrent", DeepSet("recurrent"), "S(n)", "rows", "invariant", "broken", "recurrent"),
        Twin("constant", DeepSet("constant"), "S(n)", "rows", "invariant", "vacuous", "same for every input"),
    ]
