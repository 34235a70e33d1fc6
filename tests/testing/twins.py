"""Models with a symmetry, and twins in which one deliberate mistake breaks it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from twins_of_images import Shifting, Turning, whole_shifts

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
        self.drift = nn.Parameter(torch.randn(3) if mistake == "bias" else torch.zeros(3))
        self.calls = 0

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
        if m == "cap":  # the first two neighbours in the order of the rows
            near = (squared[..., 0] < 60.0) & ~torch.eye(len(x), dtype=torch.bool)
            weight = weight * (near & (near.cumsum(-1) <= 2))[..., None]
        step = (away * weight).mean(1)
        if m == "first":
            step = step * (x - x[0]).norm(dim=-1, keepdim=True)
        if m == "sorted":
            step = step * torch.linspace(0.5, 2.0, len(x), dtype=x.dtype)[x[:, 0].argsort().argsort(), None]
        if m == "counter":
            self.calls += 1
            step = step * self.calls
        if m == "noise":
            step = step + 0.1 * torch.randn_like(step)
        if m == "bias":
            step = step + self.drift
        if m == "relu":
            step = step.relu()
        if m == "largest":
            step = step / step.abs().max()
        if m == "wrong mean":
            step = step - step.mean(-1, keepdim=True)
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
        self.flat = nn.Linear(8 * n, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.mistake in ("positions", "zero positions"):
            x = x + self.position
        h = self.inner(x)
        if self.mistake == "last":
            return self.outer(h[..., -1, :])
        if self.mistake == "recurrent":
            return self.outer(self.lstm(h)[0].mean(-2))
        if self.mistake == "flat":
            return self.flat(h.flatten(-2))
        if self.mistake == "constant":
            return self.outer(torch.zeros_like(h.mean(-2)))
        return self.outer(h.mean(-2))


class Pose(nn.Module):
    """An orthonormal frame from three points (Gram-Schmidt), as a rotation, or principal coordinates of a cloud."""

    def __init__(self, mistake: str = "") -> None:
        super().__init__()
        self.mistake = mistake

    def forward(self, x: Tensor) -> Tensor:
        if self.mistake == "signs":
            centred = x - x.mean(0)
            return centred @ torch.linalg.eigh(centred.mT @ centred).eigenvectors
        first = nn.functional.normalize(x[1] - x[0], dim=-1)
        second = x[2] - x[0]
        second = nn.functional.normalize(second - (second @ first) * first, dim=-1)
        frame = torch.stack([first, second, torch.linalg.cross(first, second)], -1)
        return frame.mT if self.mistake == "transposed" else frame


@dataclass
class Twin:
    """A broken model: its verdict, and a word that its cause, its note or its risk must contain."""

    name: str
    make: Callable[[], Any]
    group: Any
    input: Any
    output: Any
    verdict: str
    word: str
    train: bool = False
    shape: tuple[int, ...] = (6, 3)

    def build(self, seed: int = 0) -> tuple[Any, Symmetry, Tensor]:
        """The model, the symmetry that it claims and an input, from one seed."""
        torch.manual_seed(seed)
        symmetry = self.group if isinstance(self.group, Symmetry) else Symmetry(self.group, self.input, self.output)
        return self.make().train(self.train), symmetry, torch.randn(self.shape)


def egnn(mistake: str, group: str, verdict: str, word: str, train: bool = False, kind: str = "points") -> Twin:
    return Twin(mistake, partial(Egnn, mistake), group, kind, kind, verdict, word, train)


def deepset(mistake: str, verdict: str, word: str) -> Twin:
    return Twin(mistake, partial(DeepSet, mistake), "S(n)", "rows", "invariant", verdict, word, shape=(6, 4))


def twins() -> list[Twin]:
    return [
        egnn("norm", "E(3)", "broken", "normalisation over the components"),
        egnn("activation", "E(3)", "broken|approximate", "nonlinearity on the components"),
        egnn("relu", "E(3)", "broken", "nonlinearity on the components"),
        egnn("batchnorm", "E(3)", "broken", "normalisation over the components", train=True),
        egnn("gravity", "SE(3)", "broken|approximate", "rotations about the z axis"),
        egnn("bias", "SE(3)", "broken", "frame of reference leaks in through parameter drift"),
        egnn("leak", "SE(3)", "approximate", "coordinates used as plain features"),
        egnn("cross", "E(3)", "broken|approximate", "reflections"),
        egnn("no centroid", "SE(3)", "broken", "add the centroid back"),
        egnn("absolute", "E(3)", "broken|approximate", "absolute positions"),
        egnn("sorted", "SE(3)", "broken|approximate", "rotations about the x axis"),
        egnn("largest", "SE(3)", "broken|approximate", "coordinates are treated one by one"),
        egnn("wrong mean", "SE(3)", "broken|approximate", "rotations about the axis (0.58, 0.58, 0.58)"),
        egnn("dropout", "E(3)", "broken|approximate", "random layers", train=True),
        egnn("noise", "E(3)", "broken|approximate", "random layers"),
        egnn("counter", "E(3)", "exact", "keeps state between calls"),
        egnn("island", "SE(3)", "approximate", "float32 island"),
        egnn("zero parameter", "SE(3)", "exact", "perturbed parameters"),
        egnn("neighbours", "E(3)", "exact", "tied inputs"),
        egnn("cap", "S(n)", "broken|approximate", "cap", kind="rows"),
        egnn("first", "S(n)", "broken|approximate", "order of the rows", kind="rows"),
        Twin("transposed", partial(Pose, "transposed"), "SE(3)", "points", "rotation", "broken", "the wrong side"),
        Twin("signs", partial(Pose, "signs"), "SE(3)", "points", "scalars", "broken", "the sign of an axis"),
        deepset("positions", "broken|approximate", "positions: parameter position"),
        deepset("zero positions", "exact", "perturbed parameters"),
        deepset("last", "broken|approximate", "order of the rows"),
        deepset("recurrent", "broken|approximate", "recurrent"),
        deepset("flat", "broken|approximate", "flattened into"),
        deepset("constant", "vacuous", "same for every input"),
        *image_twins(),
    ]


def originals() -> list[Twin]:
    """The same models without a mistake."""
    return [
        egnn("", "E(3)", "exact", ""),
        egnn("", "S(n)", "exact", "", kind="rows"),
        egnn("cross", "SE(3)", "exact", ""),
        Twin("pose", Pose, "SE(3)", "points", "rotation", "exact", ""),
        deepset("", "exact", ""),
        *image_originals(),
    ]


def turning(mistake: str, verdict: str, word: str) -> Twin:
    return Twin(mistake, partial(Turning, mistake), "C4", "image", "invariant", verdict, word, shape=(2, 1, 12, 12))


def shifting(mistake: str, verdict: str, word: str) -> Twin:
    symmetry = whole_shifts(12, pooled=mistake == "stride")
    return Twin(mistake, partial(Shifting, mistake), symmetry, None, None, verdict, word, shape=(2, 1, 12, 12))


def image_twins() -> list[Twin]:
    return [
        turning("plain", "broken|approximate", "filters have an orientation"),
        turning("coordinates", "broken|approximate", "absolute position"),
        turning("flat", "broken|approximate", "flatten"),
        shifting("zeros", "broken|approximate", "padding"),
        shifting("stride", "broken|approximate", "stride"),
        shifting("positions", "broken|approximate", "absolute position enters through parameter table"),
    ]


def image_originals() -> list[Twin]:
    return [turning("", "exact", ""), shifting("", "exact", "")]
