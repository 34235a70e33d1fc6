"""Task circuits: do a few units carry a class, and do errors go to classes that share units?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from erlangen import data
from erlangen.audit.circuits import SubArchitectures, TaskDisentangler
from erlangen.recipes.claim import Claim
from erlangen.recipes.recipe import Budget, recipe

IMAGES: dict[str, tuple[int, int]] = {"smoke": (200, 150), "laptop": (8_000, 4_000), "full": (20_000, 10_000)}
EPOCHS: dict[str, int] = {"smoke": 1, "laptop": 4, "full": 15}
FIT: dict[str, dict[str, int]] = {
    "smoke": {"images_per_task": 8, "epochs": 1, "batch_size": 8, "trials": 2},
    "laptop": {"images_per_task": 96, "epochs": 10, "batch_size": 16, "trials": 5},
    "full": {"images_per_task": 200, "epochs": 20, "batch_size": 16, "trials": 8},
}
SHARE_OFF = 0.55


class FourBlocks(nn.Module):
    """Four convolutional blocks with norms and a linear layer on the mean of the last."""

    def __init__(self) -> None:
        super().__init__()
        channels = [1, 16, 32, 48, 64]
        self.blocks = nn.Sequential(
            *[
                nn.Sequential(nn.Conv2d(a, b, 3, padding=1, stride=stride, bias=False), nn.BatchNorm2d(b), nn.ReLU())
                for a, b, stride in zip(channels[:-1], channels[1:], (1, 2, 1, 2), strict=True)
            ]
        )
        self.head = nn.Linear(channels[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(x).mean((2, 3)))


@recipe(
    "task_circuits",
    title="A minority of units carries a class, and errors go to classes that share units",
    source="arXiv:2003.13268",
    claims=[
        Claim("a class needs at most half of the units", "own.kept", "below", 0.5),
        Claim("with its own units it loses at most 5 points", "own.drop", "below", 0.05),
        Claim("most active units are a worse choice", "own.accuracy", "above", "active.accuracy"),
        Claim("misread images are taken for a similar class: mean rank below chance", "confusion.rank", "below", 5.0),
        Claim("similarity of units and confusions correlate above 0.4", "confusion.spearman", "above", 0.4),
        Claim("which renaming the classes does not explain: p below 0.01", "confusion.p", "below", 0.01),
        Claim("a class's units look at its own image on a board of four: hits above chance", "hit.last", "above", 0.25),
        Claim(
            "hits do not grow with depth throughout: an inner block is above both ends", "hit.inner_gain", "above", 0.0
        ),
        Claim("as many units at random lose at least 30 points", "random.drop", "above", 0.3, control=True),
    ],
    uses=[
        "erlangen.audit.circuits.disentangler",
        "erlangen.audit.circuits.gates",
        "erlangen.audit.circuits.sub_architectures",
    ],
    laptop_seeds=3,
    explanation=(
        "Fashion-MNIST at 14 x 14, 8,000 images, four convolutional blocks (47,000 parameters), gates behind each block; "
        "masks from 96 training images a class with the weight of sparsity found by bisection, everything else on 4,000 "
        "test images. `drop` is the accuracy on a class that is lost by switching off all units but its own; `active` "
        "keeps as many units a layer, those most active on the class; `everything` is the accuracy on all classes under the "
        "masks of one: a network reduced to a class calls most images that class. The paper's networks are trained on ImageNet and "
        "Places365."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """One classifier; its sub-architectures against random units and the most active ones."""
    (x, label), (new_x, new_label) = _images(budget, seed)
    model = _classifier(budget, x, label, seed)
    fitted = TaskDisentangler(
        model, [f"blocks.{i}" for i in range(4)], target_sparsity=SHARE_OFF, lr=0.3, seed=seed, **FIT[budget]
    )
    found = fitted.fit((x, label), list(range(10)))
    generator = torch.Generator().manual_seed(seed)
    numbers: dict[str, float] = {"own.kept": sum(found.kept().values()) / 10}
    whole = None
    masks = {"own": found, "random": found.random(generator=generator), "active": _most_active(model, found, x, label)}
    for name, each in masks.items():
        right = each.right(model, new_x, new_label)
        whole = float(right[None].float().mean())
        own = torch.stack([right[c][new_label == c].float().mean() for c in range(10)])
        full = torch.stack([right[None][new_label == c].float().mean() for c in range(10)])
        everything = torch.stack([right[c].float().mean() for c in range(10)])
        numbers |= {f"{name}.accuracy": float(own.mean()), f"{name}.drop": float((full - own).mean())}
        numbers[f"{name}.everything"] = float(everything.mean())
    numbers["whole.accuracy"] = whole or 0.0
    agreement = found.confusion_agreement(model, (new_x, new_label), generator=generator)
    numbers |= {
        "confusion.rank": agreement.rank,
        "confusion.spearman": agreement.spearman,
        "confusion.p": agreement.p_value,
    }
    hits = [float(h.mean()) for h in found.hit_rate(model, new_x[:400], new_label[:400], generator=generator).values()]
    numbers |= {f"hit.block{i}": hit for i, hit in enumerate(hits)}
    numbers |= {"hit.last": hits[-1], "hit.inner_gain": max(hits[1:-1]) - max(hits[0], hits[-1])}
    return numbers


def _images(budget: Budget, seed: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Training and test images, other ones for every seed; digits at "smoke", which ship with scikit-learn."""
    loaded = data.load("digits") if budget == "smoke" else data.load("fashion_mnist", image_size=14)
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for name, count in zip(("train", "test"), IMAGES[budget], strict=True):
        rows = torch.as_tensor(loaded.splits[name])
        rows = rows[torch.randperm(len(rows), generator=generator)[:count]]
        x = loaded.x[rows].float()
        parts.append(((x - loaded.x.float().mean()) / loaded.x.float().std(), loaded.label[rows].long()))
    return parts[0], parts[1]


def _classifier(budget: Budget, x: Tensor, label: Tensor, seed: int) -> FourBlocks:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = FourBlocks().train()
        batch = 64 if budget != "smoke" else 32
        steps = EPOCHS[budget] * (len(x) // batch)
        optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=max(2, steps))
        for _ in range(EPOCHS[budget]):
            for rows in torch.randperm(len(x)).split(batch)[: len(x) // batch]:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[rows]), label[rows]).backward()
                optimizer.step()
                schedule.step()
    return model.eval()


def _most_active(model: FourBlocks, found: SubArchitectures, x: Tensor, label: Tensor) -> SubArchitectures:
    """As many units a layer for every class, those with the largest mean activation on it."""
    masks: dict[int, dict[str, Tensor]] = {}
    with torch.no_grad():
        for c in found.tasks:
            out = x[label == c][:100]
            masks[c] = {}
            for i, block in enumerate(model.blocks):
                out = block(out)
                name = f"blocks.{i}"
                strength = out.mean((0, 2, 3))
                chosen = strength.topk(int(found.masks[c][name].sum())).indices
                masks[c][name] = torch.zeros(len(strength), dtype=torch.bool).index_fill_(0, chosen, True)
    return SubArchitectures(masks, masks, found.beta, found.verdicts, found.classify)
