"""Neural collapse with unequal classes: do lengths and angles follow the closed form of the general orthogonal frame?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from erlangen import data
from erlangen.audit.collapse import CollapseMoments, frame_distance, gof_prediction, measure_collapse
from erlangen.recipes.claim import Claim
from erlangen.recipes.recipe import Budget, recipe
from erlangen.train.ensemble import Ensemble, fit_ensemble

UNIT: dict[str, int] = {"smoke": 2, "laptop": 6, "full": 15}
STEPS: dict[str, int] = {"smoke": 60, "laptop": 2_500, "full": 12_000}
WIDTH: dict[str, int] = {"smoke": 16, "laptop": 64, "full": 128}
CLASSES = 10
# decay of the linear layers and N times the decay of the features, so that no class is predicted to vanish
DECAYS = {1: (3e-3, 0.1), 3: (5e-3, 0.13)}


class FeaturesAndLayers(nn.Module):
    """Three ReLU layers and M linear ones without bias; gives logits, features and the linear layers' squared norm."""

    def __init__(self, width: int, depth: int, generator: torch.Generator) -> None:
        super().__init__()
        body: list[nn.Module] = []
        for fan_in in (64, width, width):
            body += [_filled(nn.Linear(fan_in, width), generator), nn.ReLU()]
        self.body = nn.Sequential(*body)
        outs = [width] * (depth - 1) + [CLASSES]
        self.layers = nn.ModuleList([_filled(nn.Linear(width, out, bias=False), generator) for out in outs])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = out = self.body(x)
        norm = torch.zeros((), dtype=x.dtype)
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            out = layer(out)
            norm = norm + layer.weight.square().sum()
        return out, features, norm


def _filled(linear: nn.Linear, generator: torch.Generator) -> nn.Linear:
    with torch.no_grad():
        linear.weight.normal_(0, (2 / linear.in_features) ** 0.5, generator=generator)
        if linear.bias is not None:
            linear.bias.zero_()
    return linear


@recipe(
    "neural_collapse",
    title="Unequal classes collapse to an orthogonal frame whose lengths their sizes set",
    source="arXiv:2301.00437",
    claims=[
        Claim(f"{depth} linear {'layer' if depth == 1 else 'layers'}: {text}", f"depth{depth}.{left}", "above", right)
        for depth in (1, 3)
        for text, left, right in (
            ("lengths of the class means correlate with the prediction above 0.98", "mean_correlation", 0.98),
            ("lengths of the classifiers correlate with the prediction above 0.98", "weight_correlation", 0.98),
            ("the other geometries are at least 5 times as far", "gof_ratio", 5.0),
        )
    ]
    + [
        Claim(f"{depth} linear {'layer' if depth == 1 else 'layers'}: {text}", f"depth{depth}.{left}", "below", right)
        for depth in (1, 3)
        for text, left, right in (
            ("class means are orthogonal: mean cosine below 0.05", "cosine", 0.05),
            ("scatter within classes below a tenth of that at the start", "nc1_share", 0.1),
        )
    ]
    + [
        Claim("equal classes: the orthogonal frame is within 0.1", "balanced.nc2_of", "below", 0.1),
        Claim(
            "the prediction for class sizes in reverse order is at least 5 times as far",
            "depth1.reversed_ratio",
            "above",
            5.0,
            control=True,
        ),
    ],
    uses=[
        "erlangen.audit.collapse.frames",
        "erlangen.audit.collapse.measure",
        "erlangen.audit.collapse.moments",
    ],
    laptop_seeds=3,
    explanation=(
        "Digits of scikit-learn, class k (k = 1 .. 10) with 6 k images; three ReLU layers of 64 and one or three linear "
        "layers without bias, squared error on one-hot targets, decay of the linear layers and of the features, full-batch "
        "Adam for 2,500 steps. `gof_ratio` is the distance (NC2) to the nearest of simplex, orthogonal frame and SELI over "
        "that to the frame predicted from class sizes and decays; nothing is fitted."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """One ensemble a depth: unequal classes, and equal ones with as many images."""
    loaded = data.load("digits")
    pixels = loaded.x.float().flatten(1)
    pixels = (pixels - pixels.mean()) / pixels.std()
    generator = torch.Generator().manual_seed(seed)
    unequal = UNIT[budget] * torch.arange(1, CLASSES + 1)
    total = int(unequal.sum())
    equal = torch.full((CLASSES,), total // CLASSES)
    equal[: total - int(equal.sum())] += 1
    chosen = [_choose(loaded.label, counts, generator) for counts in (unequal, equal)]
    x, label = pixels[torch.stack(chosen)], loaded.label[torch.stack(chosen)].long()
    numbers: dict[str, float] = {}
    for depth, (lam_w, strength) in DECAYS.items():
        numbers |= _one_depth(budget, x, label, (unequal, equal), depth, lam_w, strength / total, generator)
    return numbers


def _choose(label: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
    rows = []
    for c, count in enumerate(counts.tolist()):
        own = (label == c).nonzero().squeeze(1)
        rows.append(own[torch.randperm(len(own), generator=generator)[:count]])
    return torch.cat(rows)


def _one_depth(
    budget: Budget,
    x: Tensor,
    label: Tensor,
    counts: tuple[Tensor, Tensor],
    depth: int,
    lam_w: float,
    lam_h: float,
    generator: torch.Generator,
) -> dict[str, float]:
    def loss(output: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
        logits, features, norm = output
        fit = (logits - target).square().sum() / (2 * len(target))
        return fit + lam_w / 2 * norm + lam_h / 2 * features.square().sum()

    members = Ensemble([FeaturesAndLayers(WIDTH[budget], depth, generator) for _ in counts])
    target = nn.functional.one_hot(label, CLASSES).float()
    before = _collapse(members, x, label, 0, lam_w, lam_h, depth).values["nc1"]
    for rate, share in ((5e-3, 0.6), (1e-3, 0.25), (1e-4, 0.15)):
        fit_ensemble(members, x, target, loss=loss, steps=max(1, int(share * STEPS[budget])), lr=rate, each=True)
    found = _collapse(members, x, label, 0, lam_w, lam_h, depth)
    frame = gof_prediction(counts[0], lam_w, lam_h, depth=depth)
    means = _features(members, x, label, 0)
    gram = means @ means.T
    lengths = gram.diagonal().clamp(min=1e-30).sqrt()
    cosines = (gram / torch.outer(lengths, lengths)).fill_diagonal_(0)
    weight = members.parameters[f"layers.{depth - 1}.weight"][0].double()
    of_gof = found.values["nc2.gof"]
    numbers = {
        "mean_correlation": _correlation(lengths, frame.mean_gram.diagonal().sqrt()),
        "weight_correlation": _correlation(weight.norm(dim=1), frame.weight_gram.diagonal().sqrt()),
        "cosine": float(cosines.abs().sum() / (CLASSES * (CLASSES - 1))),
        "gof": of_gof,
        "gof_ratio": min(found.values[f"nc2.{name}"] for name in ("etf", "of", "seli")) / of_gof,
        "nc1": found.values["nc1"],
        "nc1_share": found.values["nc1"] / before,
        "reversed_ratio": float(frame_distance(gram, frame.mean_gram.flip(0, 1))) / of_gof,
    }
    named = {f"depth{depth}.{name}": value for name, value in numbers.items()}
    if depth == 1:
        named["balanced.nc2_of"] = _collapse(members, x, label, 1, lam_w, lam_h, depth).values["nc2.of"]
    return named


def _outputs(members: Ensemble, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return members(x, each=True)


def _features(members: Ensemble, x: Tensor, label: Tensor, member: int) -> Tensor:
    rows = _outputs(members, x)[1][member].double()
    return torch.stack([rows[label[member] == c].mean(0) for c in range(CLASSES)])


def _collapse(members: Ensemble, x: Tensor, label: Tensor, member: int, lam_w: float, lam_h: float, depth: int):
    rows = _outputs(members, x)[1][member]
    moments = CollapseMoments(CLASSES, rows.shape[1], folds=4).update(rows, label[member])
    return measure_collapse(moments, lam_w=lam_w, lam_h=lam_h, depth=depth)


def _correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.double(), b.double()]))[0, 1])
