"""Feature bias: of features that a network computes equally well, the simple one takes most of the variance."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from erlangen.audit.features import variance_explained
from erlangen.data.composed_features import ComposedFeatures
from erlangen.recipes.claim import Claim
from erlangen.recipes.recipe import Budget, recipe
from erlangen.stats import cka
from erlangen.train.ensemble import Ensemble, fit_ensemble

STEPS: dict[str, int] = {"smoke": 20, "laptop": 2_000, "full": 8_000}
NETWORKS: dict[str, int] = {"smoke": 1, "laptop": 3, "full": 8}
ROWS: dict[str, int] = {"smoke": 200, "laptop": 2_000, "full": 8_000}
WIDTH = 64
CHUNK = 100
ENOUGH = 0.99
ARMS = ("both", "easy_only", "hard_only", "hard_first", "equal")


class ThreeHidden(nn.Module):
    """Two logits, and the third hidden layer."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        sizes = [inputs, WIDTH, WIDTH, WIDTH]
        layers = [m for a, b in itertools.pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
        self.body = nn.Sequential(*layers)
        self.heads = nn.Linear(WIDTH, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.body(x)
        return self.heads(hidden), hidden


def _loss(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    """Logistic loss of the heads that the arm is taught; `target` is two signs and two weights."""
    sign, weight = target[:, :2], target[:, 2:]
    return (weight * nn.functional.softplus(-output[0] * sign)).sum(1).mean()


@recipe(
    "feature_bias",
    title="The simpler of two features that are computed equally well takes most of the variance",
    source="arXiv:2405.05847",
    claims=[
        Claim(
            "the hard feature is computed: accuracy on new inputs at least 0.99", "both.accuracy_hard", "above", 0.99
        ),
        Claim("so is the easy one", "both.accuracy_easy", "above", 0.99),
        Claim("the easy one explains at least 3 times the variance", "both.ratio", "above", 3.0),
        Claim(
            "learning the hard one first raises its share", "hard_first.variance_hard", "above", "both.variance_hard"
        ),
        Claim("though it is computed as well", "hard_first.accuracy_hard", "above", 0.99),
        Claim(
            "similarity (CKA) sees the easy feature: networks with both are nearer to those with the easy one only",
            "both.cka_easy_only",
            "above",
            "both.cka_hard_only",
        ),
        Claim("two features of the same complexity: ratio below 1.5", "equal.ratio", "below", 1.5, control=True),
    ],
    uses=["erlangen.audit.features", "erlangen.data.composed_features"],
    laptop_seeds=5,
    explanation=(
        "The easy feature is one input bit, the hard one the parity of three others, eight more bits say nothing; three "
        "hidden layers of 64, Adam at 1e-3, two heads. A network is looked at when its accuracies on new inputs first "
        "reach 0.99 (asked every 100 steps, 2,000 at most); `ratio_at_end` shows that the shares draw nearer to each other "
        "if training goes on. `variance` is the share of the third hidden layer's variance on new inputs, corrected for "
        "chance; `hard_first` is taught the hard feature alone for the first half of the steps, `equal` has a second single "
        "bit in place of the parity. The paper's networks and tasks are of other sizes."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """All arms, a few networks each, in one ensemble; each is looked at when it first computes what it is taught."""
    generator = torch.Generator().manual_seed(seed)
    task = ComposedFeatures({"easy": "linear", "hard": "parity3", "second": "linear"}, distractors=8)
    x, features = task.sample(ROWS[budget], generator=generator)
    new_x, new_features = task.sample(ROWS[budget], generator=generator)
    arms = [arm for arm in ARMS for _ in range(NETWORKS[budget])]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        members = Ensemble([ThreeHidden(task.input_size) for _ in arms])
    inputs = x.expand(len(arms), *x.shape)
    taken: list[tuple[Tensor, Tensor] | None] = [None] * len(arms)
    chunks = max(2, STEPS[budget] // CHUNK)
    for chunk in range(chunks):
        half = int(chunk >= chunks // 2)
        targets = torch.stack([_targets(arm, features, half) for arm in arms])
        fit_ensemble(
            members,
            inputs,
            targets,
            loss=_loss,
            steps=min(CHUNK, STEPS[budget]),
            batch_size=128,
            lr=1e-3,
            each=True,
            seeds=chunks * seed + chunk,
        )
        out, hidden = members(new_x)
        for i, arm in enumerate(arms):
            done = all(value >= ENOUGH for value in _accuracies(arm, out[i], new_features))
            ready = arm != "hard_first" or half == 1
            if taken[i] is None and ready and (done or chunk == chunks - 1):
                taken[i] = out[i].clone(), hidden[i].clone()
    late = [i for i, name in enumerate(arms) if name == "both"]
    at_end = _arm("both", out[late], hidden[late], new_features)["ratio"]
    out, hidden = (torch.stack([t[k] for t in taken if t is not None]) for k in (0, 1))
    numbers: dict[str, float] = {"both.ratio_at_end": at_end}
    for arm in ARMS:
        rows = [i for i, name in enumerate(arms) if name == arm]
        numbers |= {f"{arm}.{name}": value for name, value in _arm(arm, out[rows], hidden[rows], new_features).items()}
    some = hidden[:, :500]
    for other in ("easy_only", "hard_only"):
        pairs = [(i, j) for i, a in enumerate(arms) for j, b in enumerate(arms) if a == "both" and b == other]
        numbers[f"both.cka_{other}"] = float(torch.stack([cka(some[i], some[j]) for i, j in pairs]).mean())
    return numbers


def _accuracies(arm: str, out: Tensor, features: dict[str, Tensor]) -> list[float]:
    """Of the heads that the arm is taught."""
    right = [float(((out[:, k] > 0) == features[name]).float().mean()) for k, name in enumerate(_names(arm))]
    return right[:1] if arm == "easy_only" else right[1:] if arm == "hard_only" else right


def _names(arm: str) -> tuple[str, str]:
    return ("easy", "second") if arm == "equal" else ("easy", "hard")


def _targets(arm: str, features: dict[str, Tensor], half: int) -> Tensor:
    signs = [features[name].float() * 2 - 1 for name in _names(arm)]
    easy = 0.0 if arm == "hard_only" or (arm == "hard_first" and half == 0) else 1.0
    hard = 0.0 if arm == "easy_only" else 1.0
    return torch.stack([*signs, torch.full_like(signs[0], easy), torch.full_like(signs[0], hard)], 1)


def _arm(arm: str, out: Tensor, hidden: Tensor, features: dict[str, Tensor]) -> dict[str, float]:
    names = _names(arm)
    labels = {name: features[name] for name in names}
    shares = [variance_explained(h, labels, partial=False).explained for h in hidden]
    share = [sum(s[name] for s in shares) / len(shares) for name in names]
    right = [float(((out[:, :, k] > 0) == features[name]).float().mean()) for k, name in enumerate(names)]
    numbers = {"variance_easy": share[0], "variance_hard": share[1]}
    numbers |= {"accuracy_easy": right[0], "accuracy_hard": right[1]}
    if arm in ("both", "equal"):
        numbers["ratio"] = share[0] / max(share[1], 1e-3)
    return numbers
