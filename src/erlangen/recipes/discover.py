"""Discovery: symmetries that were planted in real data are told, and those that are not there are not."""

from __future__ import annotations

import torch
from torch import Tensor

from erlangen import data as data_room
from erlangen.audit.discovery import discover
from erlangen.audit.discovery_report import Discovery
from erlangen.groups import parse
from erlangen.groups.actions import Image
from erlangen.recipes.claim import Claim
from erlangen.recipes.recipe import Budget, recipe

SAMPLES: dict[str, int] = {"smoke": 300, "laptop": 1_200, "full": 4_000}


@recipe(
    "discover",
    title="Discovery: which symmetries do the data have?",
    source="erlangen",
    claims=[
        Claim("digits turned at random have the quarter turns (holds above 0.95)", "turned.C4", "above", 0.95),
        Claim("and all rotations (holds above 0.9)", "turned.SO(2)", "above", 0.9),
        Claim("but not the mirror image (holds below 0.6)", "turned.D1", "below", 0.6),
        Claim("upright digits have no rotations (holds below 0.4)", "upright.SO(2)", "below", 0.4, control=True),
        Claim("upright digits have no mirror image (holds below 0.5)", "upright.D1", "below", 0.5, control=True),
        Claim("a target of dot products has O(3) (holds above 0.95)", "dots.O(3)", "above", 0.95),
        Claim("with a preferred axis it has it in part: holds at least 0.05 less", "axis.lost", "above", 0.05),
        Claim("a triple product has SO(3) (holds above 0.8)", "triple.SO(3)", "above", 0.8),
        Claim("and no reflections: O(3) holds below 0.5", "triple.O(3)", "below", 0.5),
        Claim(
            "shuffled labels cannot tell (1 when the verdict says so)", "noise.cannot_tell", "above", 0.5, control=True
        ),
    ],
    uses=[
        "erlangen.audit.discovery",
        "erlangen.audit.discovery_model",
        "erlangen.audit.discovery_moves",
        "erlangen.audit.discovery_twins",
    ],
    laptop_seeds=5,
    explanation=(
        "`holds` is 1 where moving inputs costs a predictor as little as in a twin of the data in which the symmetry was "
        "planted, 0 where it costs as much as for a target that no motion leaves alone. The digits are scikit-learn's, "
        "enlarged to 16 pixels before they are turned."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Digits upright, turned and with shuffled labels; vectors with targets of known symmetry."""
    count = SAMPLES[budget]
    generator = torch.Generator().manual_seed(seed)
    x, label = data_room.load("digits", pad=2).tensors()
    x = torch.nn.functional.interpolate(x, size=(24, 24), mode="bicubic").clamp(0, 1)
    turned = Image(parse("SO(2)"))(parse("SO(2)").sample(len(x), generator=generator), x)
    shuffled = label[torch.randperm(len(label), generator=generator)]

    def look(inputs: Tensor, target: Tensor, groups: list[str]) -> Discovery:
        return discover((inputs, target), groups=groups, samples=count, seed=seed)

    numbers: dict[str, float] = {}
    for name, found in (
        ("turned", look(turned, label, ["C4", "SO(2)", "D1"])),
        ("upright", look(x, label, ["SO(2)", "D1"])),
    ):
        numbers |= {f"{name}.{r.group}": r.holds.value for r in found.readings}
    numbers["noise.cannot_tell"] = float(look(turned, shuffled, ["C4"])["C4"].verdict == "cannot tell")
    points = torch.randn(count, 3, 3, generator=generator)
    a, b, c = points.unbind(1)
    dots = (a * b).sum(1) + c.square().sum(1)
    triple = (a * torch.linalg.cross(b, c)).sum(1)
    targets = {"dots": dots, "axis": dots + 0.7 * a[:, 2], "triple": triple / (1 + triple.abs())}
    for name, target in targets.items():
        found = look(points.flatten(1), target, ["SO(3)", "O(3)"])
        numbers |= {f"{name}.{r.group}": r.holds.value for r in found.readings}
    return numbers | {"axis.lost": numbers["dots.O(3)"] - numbers["axis.O(3)"]}
