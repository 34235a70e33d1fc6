"""Pose of simple solids from one picture: regression, the orthographic lift, and a learned induction layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from erlangen.data import solids
from erlangen.groups.rotations.distances import geodesic_distance
from erlangen.groups.rotations.gram_schmidt import from_6d
from erlangen.nn.images import GroupConv2d
from erlangen.nn.spheres import DegreeLinear, InductionLayer, OrthographicLift, RotationActivation, SO3Distribution
from erlangen.nn.spheres.camera import in_plane
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import seeded
from erlangen.recipes.recipe import Budget, recipe

SYMMETRIC = ("tetrahedron", "cube", "icosahedron", "cone", "cylinder")
VIEWS: dict[str, int] = {"smoke": 30, "laptop": 600, "full": 2000}
ROUNDS: dict[str, int] = {"smoke": 4, "laptop": 250, "full": 3000}
TESTED: dict[str, int] = {"smoke": 8, "laptop": 40, "full": 200}
L_MAX, HIDDEN, FIELDS, BATCH = 6, 3, 8, 64
Density = Callable[[Tensor], Tensor]


class Encoder(nn.Module):
    """Pictures to 8 x 8 maps of C4 regular fields, exactly equivariant to quarter turns: `[B, 1, 32, 32] -> [B, 4F, 8, 8]`."""

    def __init__(self) -> None:
        super().__init__()
        self.first = GroupConv2d("C4", 1, FIELDS // 2, 5, input="trivial")
        self.second = GroupConv2d("C4", FIELDS // 2, FIELDS, 5)
        self.third = GroupConv2d("C4", FIELDS, FIELDS, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.avg_pool2d(torch.relu(self.first(x)), 2)
        x = nn.functional.avg_pool2d(torch.relu(self.second(x)), 2)
        return torch.relu(self.third(x))


class Regression(nn.Module):
    """One rotation a picture, by six numbers, inside a matrix-Fisher density of one learned width."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(4 * FIELDS * 64, 64), nn.ReLU(), nn.Linear(64, 6))
        self.log_kappa = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return from_6d(self.head(self.encoder(x)))

    def log_prob(self, x: Tensor, rotation: Tensor) -> Tensor:
        """κ tr(MᵀR) - log(e^κ (I_0(2κ) - I_1(2κ))), with respect to normalised Haar measure."""
        mean, kappa = self(x), self.log_kappa.exp().double()
        gap = torch.special.i0e(2 * kappa) - torch.special.i1e(2 * kappa)
        trace = torch.einsum("bij,b...ij->b...", mean, rotation)
        return self.log_kappa.exp() * trace - (gap.log() + 3 * kappa).float()

    def mode(self, x: Tensor) -> Tensor:
        return self(x)


class Pose(nn.Module):
    """Encoder, a lift to functions on SO(3), a nonlinearity there, and a log-density."""

    def __init__(self, lift: str) -> None:
        super().__init__()
        self.encoder = Encoder()
        hidden = "+".join(f"{HIDDEN * (2 * l + 1)}x{l}" for l in range(L_MAX + 1))
        self.head = SO3Distribution(L_MAX, grid_level=2)
        if lift == "induction":
            self.lift: nn.Module = InductionLayer(FIELDS, hidden, 8, radial=5)
        else:
            fixed = OrthographicLift(FIELDS, L_MAX, 8)
            self.lift = nn.Sequential(fixed, DegreeLinear(fixed.irreps, hidden))
        self.activation = RotationActivation(HIDDEN, L_MAX)
        self.last = DegreeLinear(hidden, self.head.irreps)
        self.skip = DegreeLinear(hidden, self.head.irreps)
        self.scale = nn.Parameter(torch.tensor(0.3))

    def density(self, x: Tensor, *, grid_level: int | None = None) -> Any:
        fields = self.encoder(x).unflatten(1, (FIELDS, 4)).mean(2)
        lifted = self.lift(fields)
        lifted = lifted / (lifted.square().mean(1, keepdim=True) + 1e-8).sqrt()  # rotations keep this norm
        return self.head(self.scale * (self.last(self.activation(lifted)) + self.skip(lifted)), grid_level=grid_level)

    def log_prob(self, x: Tensor, rotation: Tensor) -> Tensor:
        return self.density(x, grid_level=2 if self.training else 3).log_prob(rotation)

    def mode(self, x: Tensor) -> Tensor:
        return self.density(x).mode()


BUILD: dict[str, Callable[[], nn.Module]] = {
    "regression": Regression,
    "orthographic": lambda: Pose("orthographic"),
    "induction": lambda: Pose("induction"),
}


@recipe(
    "pose_induction",
    title="Pose from one picture: a learned induction layer against a fixed lift",
    source="arXiv:2307.03704",
    claims=[
        Claim(
            "five symmetric solids: induction is at least as likely as the lift",
            "induction.likelihood",
            "above",
            "orthographic.likelihood",
            margin=-0.05,
        ),
        Claim("by 0.2 nats", "induction.likelihood", "above", "orthographic.likelihood", margin=0.2),
        Claim("both lifts beat regression", "orthographic.likelihood", "above", "regression.likelihood"),
        Claim(
            "a body without symmetry: no larger median error than the lift (5°)",
            "induction.error",
            "below",
            "orthographic.error",
            margin=5.0,
        ),
        Claim(
            "induction: a quarter turn of the picture changes the likelihood by less than 0.05 nats",
            "induction.gap",
            "below",
            0.05,
        ),
        Claim("the lift: by less than 0.05 nats", "orthographic.gap", "below", 0.05),
        Claim("induction: a turned picture has the turned answer, to 1°", "induction.turned", "below", 1.0),
        Claim(
            "regression is not equivariant: turning the marked cube's picture moves its answer by over 5° too much",
            "regression.turned",
            "above",
            5.0,
            control=True,
        ),
    ],
    uses=[
        "erlangen.nn.spheres.induction_layer",
        "erlangen.nn.spheres.orthographic_lift",
        "erlangen.nn.spheres.rotation_density",
        "erlangen.data.solids",
    ],
    laptop_seeds=3,
    explanation=(
        "Pictures of 32 x 32 pixels from our own renderer, one network for all five symmetric solids and one for the "
        "marked cube; the encoder is the same C4-equivariant network everywhere. `likelihood` is the mean log-density, "
        "with respect to normalised Haar measure (uniform: 0), at all rotations that give the same picture; densities are "
        "normalised on 36,864 rotations. `error` is the median angle in degrees on the marked cube. `gap` is the mean "
        "absolute change of the likelihood of a picture when picture and rotations turn by 90°, `turned` the median angle "
        "between the answer for the turned picture of the marked cube and the turned answer. "
        "Training is far shorter than published."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Likelihoods on five symmetric solids and errors on an asymmetric one, for three heads."""
    numbers: dict[str, float] = {}
    generator = torch.Generator().manual_seed(seed)
    pools = {name: solids.views(name, VIEWS[budget], generator=generator) for name in (*SYMMETRIC, "marked_cube")}
    tests = {name: solids.views(name, TESTED[budget], generator=generator) for name in pools}
    shared = tuple(torch.cat([pools[name][k] for name in SYMMETRIC]) for k in (0, 1))
    for head, build in BUILD.items():
        model = seeded(build, seed)
        _train(model, shared[0], shared[1], ROUNDS[budget], seed)
        scores, gaps = [], []
        for name in SYMMETRIC:
            x, rotations = tests[name]
            same = solids.equivalent(name, rotations.double(), turns=24).float()
            value = _likelihood(model, x, same)
            quarter = in_plane(torch.tensor(math.pi / 2))
            turned = _likelihood(model, torch.rot90(x, 1, (-2, -1)), quarter @ same)
            scores.append(float(value.mean()))
            gaps.append(float((value - turned).abs().mean()))
            numbers[f"{head}.{name}"] = scores[-1]
        numbers[f"{head}.likelihood"] = sum(scores) / len(scores)
        numbers[f"{head}.gap"] = sum(gaps) / len(gaps)
        model = seeded(build, seed)
        _train(model, *pools["marked_cube"], ROUNDS[budget] // 2, seed)
        numbers[f"{head}.error"] = _median_error(model, *tests["marked_cube"])
        x, _ = tests["marked_cube"]
        with torch.no_grad():
            expected = in_plane(torch.tensor(math.pi / 2)) @ model.mode(x)  # type: ignore[operator]
        numbers[f"{head}.turned"] = _median_error(model, torch.rot90(x, 1, (-2, -1)), expected)
    return numbers


def _train(model: nn.Module, x: Tensor, rotations: Tensor, rounds: int, seed: int) -> None:
    """Adam with a one-cycle rate on the negative log-likelihood of the drawn rotation."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=rounds)
    model.train()
    for _ in range(rounds):
        index = torch.randint(len(x), (BATCH,), generator=generator)
        optimizer.zero_grad()
        (-model.log_prob(x[index], rotations[index]).mean()).backward()  # type: ignore[operator]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


@torch.no_grad()
def _likelihood(model: nn.Module, x: Tensor, same: Tensor) -> Tensor:
    """Mean log-density over all equivalent rotations, a picture each."""
    return model.log_prob(x, same).mean(1)  # type: ignore[operator]


@torch.no_grad()
def _median_error(model: nn.Module, x: Tensor, rotations: Tensor) -> float:
    angle = geodesic_distance(model.mode(x).double(), rotations.double())  # type: ignore[operator]
    return float(angle.median()) * 180 / math.pi
