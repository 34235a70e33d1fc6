"""Masks over the units of a network, one set a task: apply, compare and test them."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from erlangen.audit.circuits.gates import gated
from erlangen.audit.collect import as_embedding
from erlangen.audit.preserve import left_as_it_was


@dataclass(frozen=True)
class ConfusionAgreement:
    """Do errors go to similar tasks?

    - `rank`: mean place of the predicted class among the others, most similar to the true class first (1 is best);
      `chance` its expectation for unrelated similarities; `errors` how many images were misread.
    - `spearman`: rank correlation of similarity and confusions over pairs of classes; `p_value` by renaming classes.
    - `confusion`: counts, true class by row.
    """

    rank: float
    chance: float
    errors: int
    spearman: float
    p_value: float
    confusion: Int[Tensor, "tasks tasks"]


@dataclass(frozen=True)
class SubArchitectures:
    """The units of each task.

    `masks[task][layer]` is boolean `[channels]`, `gates` the values it was rounded from; `beta[task]` the weight of
    sparsity that gave it, `verdicts[task]` is `found`, or `inconclusive` where no image of the task was classified
    correctly.
    """

    masks: dict[Any, dict[str, Tensor]]
    gates: dict[Any, dict[str, Tensor]] = field(repr=False)
    beta: dict[Any, float]
    verdicts: dict[Any, str]
    classify: Callable[[Any], Tensor] = field(default=as_embedding, repr=False)

    @property
    def tasks(self) -> list[Any]:
        return list(self.masks)

    def kept(self) -> dict[Any, float]:
        """The share of units that each task keeps."""
        return {t: float(torch.cat(list(layers.values())).double().mean()) for t, layers in self.masks.items()}

    @contextlib.contextmanager
    def apply(self, model: nn.Module, task: Any) -> Iterator[nn.Module]:
        """The model with the units that are not the task's set to zero, inside the block."""
        if task not in self.masks:
            raise ValueError(f"task: {task!r}; there are {', '.join(map(repr, self.tasks))}")
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        with gated(model, {name: mask.float().to(device) for name, mask in self.masks[task].items()}):
            yield model

    def similarity(self, metric: Literal["jaccard"] = "jaccard") -> Float[Tensor, "tasks tasks"]:
        """The Jaccard index of the masks, averaged over layers; two empty masks count as equal."""
        if metric != "jaccard":
            raise ValueError(f"metric: {metric!r}; allowed is 'jaccard'")
        total = torch.zeros(len(self.masks), len(self.masks), dtype=torch.float64)
        layers = list(next(iter(self.masks.values())))
        for layer in layers:
            stacked = torch.stack([self.masks[task][layer] for task in self.masks]).double()
            both = stacked @ stacked.T
            size = stacked.sum(1)
            either = size[:, None] + size - both
            total += torch.where(either > 0, both / either.clamp(min=1), 1.0)
        return total / len(layers)

    def random(self, *, generator: torch.Generator | None = None) -> "SubArchitectures":
        """Masks of the same size in every layer with units drawn at random: the control."""

        def draw(mask: Tensor) -> Tensor:
            return mask[torch.randperm(len(mask), generator=generator)]

        masks = {task: {name: draw(mask) for name, mask in layers.items()} for task, layers in self.masks.items()}
        gates = {task: {name: mask.float() for name, mask in layers.items()} for task, layers in masks.items()}
        return SubArchitectures(masks, gates, self.beta, self.verdicts, self.classify)

    def right(self, model: nn.Module, images: Tensor, labels: Tensor) -> dict[Any, Tensor]:
        """Whether each image is classified correctly by each task's sub-architecture, `[images]`; None: the whole."""
        found: dict[Any, Tensor] = {}
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        with left_as_it_was(model, seed=0), torch.no_grad():
            for task in [None, *self.masks]:
                with contextlib.nullcontext() if task is None else self.apply(model, task):
                    parts = [self.classify(model(part.to(device))).argmax(1).cpu() for part in images.split(256)]
                found[task] = torch.cat(parts) == labels.cpu()
        return found

    def hit_rate(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        grid: int = 2,
        top: float = 0.1,
        resize: bool = False,
        generator: torch.Generator | None = None,
    ) -> dict[str, Float[Tensor, " boards"]]:
        """Does a task's sub-architecture look at its own image on a board of several?

        Boards of `grid x grid` images of different classes go through the model under the mask of one of them; of the
        summed gated activation map of each layer the `top` share of pixels is taken, and the share of those inside the
        right field returned, layer by layer (chance `1 / grid^2`). Layers without a map, or with one smaller than the
        grid, are left out. `resize` shrinks a board to the size of one image, for models of fixed input size.

        Raises ValueError for too few classes to fill a board.
        """
        tasks = [task for task in self.masks if isinstance(task, int)]
        usable = [task for task in tasks if bool((labels == task).any())]
        if len(usable) < grid * grid:
            raise ValueError(f"images: {len(usable)} classes that are tasks; a board needs {grid * grid}")
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        pools = {task: (labels == task).nonzero().squeeze(1) for task in usable}
        hits: dict[str, list[Tensor]] = {}
        with left_as_it_was(model, seed=0), torch.no_grad():
            for task in usable:
                boards, fields = _boards(images, pools, task, usable, grid, generator)
                if resize:
                    boards = nn.functional.interpolate(boards, size=images.shape[-2:], mode="area")
                seen: dict[str, list[Tensor]] = {}
                masks = {name: mask.float().to(device) for name, mask in self.masks[task].items()}
                with gated(model, masks, seen=seen):
                    model(boards.to(device))
                for name, outputs in seen.items():
                    if outputs[0].dim() == 4 and min(outputs[0].shape[-2:]) >= grid:
                        hits.setdefault(name, []).append(_inside(outputs[0].sum(1).cpu(), fields, grid, top))
        return {name: torch.cat(parts) for name, parts in hits.items()}

    def confusion_agreement(
        self,
        model: nn.Module,
        loader: Any,
        *,
        permutations: int = 2000,
        generator: torch.Generator | None = None,
    ) -> ConfusionAgreement:
        """Are misclassified images taken for classes whose sub-architecture is similar to that of their own?

        Tasks must be single classes. `p_value` is one-sided: the share of renamings of the classes with a rank
        correlation at least as high.
        """
        from erlangen.audit.circuits.disentangler import batches

        tasks = [task for task in self.masks if isinstance(task, int)]
        if len(tasks) < 3:
            raise ValueError(f"tasks: {len(tasks)} single classes; at least three are needed to rank the others")
        place = {task: i for i, task in enumerate(tasks)}
        confusion = torch.zeros(len(tasks), len(tasks), dtype=torch.int64)
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        with left_as_it_was(model, seed=0), torch.no_grad():
            for images, labels in batches(loader):
                predicted = self.classify(model(images.to(device))).argmax(1).cpu()
                for true, said in zip(labels.tolist(), predicted.tolist(), strict=True):
                    if true in place and said in place:
                        confusion[place[true], place[said]] += 1
        rows = [self.tasks.index(task) for task in tasks]
        similarity = self.similarity()[rows][:, rows]
        return agreement(similarity, confusion, permutations=permutations, generator=generator)


def agreement(
    similarity: Tensor, confusion: Tensor, *, permutations: int = 2000, generator: torch.Generator | None = None
) -> ConfusionAgreement:
    """The statistics of `ConfusionAgreement` from the two matrices."""
    count = len(similarity)
    off = ~torch.eye(count, dtype=torch.bool)
    errors = confusion.double() * off
    above = (similarity[:, None, :] > similarity[:, :, None]).double()
    ties = (similarity[:, None, :] == similarity[:, :, None]).double()
    others = off[:, None, :] & off[:, :, None] & off[None]
    place = 1 + (above * others).sum(2) + (ties * others).sum(2) / 2
    total = float(errors.sum())
    rank = float((errors * place).sum()) / total if total else math.nan
    upper = torch.triu_indices(count, count, 1)
    pairs = _ranks(similarity[upper[0], upper[1]])
    both = errors + errors.T

    def correlation(order: Tensor) -> Tensor:
        mixed = _ranks(both[order][:, order][upper[0], upper[1]])
        scale = pairs.norm() * mixed.norm()
        return (pairs @ mixed) / scale if float(scale) > 0 else torch.tensor(math.nan, dtype=torch.float64)

    value = float(correlation(torch.arange(count)))
    p_value = math.nan
    if not math.isnan(value):
        draws = torch.stack([correlation(torch.randperm(count, generator=generator)) for _ in range(permutations)])
        p_value = float(((draws >= value - 1e-12).sum() + 1) / (permutations + 1))
    return ConfusionAgreement(rank, count / 2, int(total), value, p_value, confusion)


def _ranks(values: Tensor) -> Tensor:
    """Centred ranks, ties sharing their mean."""
    x = values.double()
    ranks = (x[None] < x[:, None]).double().sum(1) + (x[None] == x[:, None]).double().sum(1) / 2
    return ranks - ranks.mean()


def _boards(
    images: Tensor, pools: dict[Any, Tensor], task: Any, usable: list[Any], grid: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Boards with one image of `task` each, on a random field, and the number of that field."""
    own = pools[task]
    others = [other for other in usable if other != task]
    boards, fields = [], []
    for row in own.tolist():
        order = torch.randperm(len(others), generator=generator)[: grid * grid - 1].tolist()
        cells = [
            int(pools[others[i]][int(torch.randint(len(pools[others[i]]), (1,), generator=generator))]) for i in order
        ]
        at = int(torch.randint(grid * grid, (1,), generator=generator))
        cells.insert(at, row)
        lines = [torch.cat([images[c] for c in cells[line * grid : (line + 1) * grid]], 2) for line in range(grid)]
        boards.append(torch.cat(lines, 1))
        fields.append(at)
    return torch.stack(boards), torch.tensor(fields)


def _inside(maps: Tensor, fields: Tensor, grid: int, top: float) -> Tensor:
    """The share of the largest pixels of `[boards, height, width]` that lies in each board's field."""
    height, width = maps.shape[-2:]
    count = max(1, round(top * height * width))
    best = maps.flatten(1).topk(count, dim=1).indices
    line = (best // width) * grid // height
    column = (best % width) * grid // width
    return (line * grid + column == fields[:, None]).double().mean(1)
