"""Find the units of a trained classifier that carry each of its tasks."""

import contextlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from erlangen.audit.circuits.gates import gate_layers, gated, listening
from erlangen.audit.circuits.sub_architectures import SubArchitectures
from erlangen.audit.collect import as_embedding, in_its_precision
from erlangen.audit.preserve import left_as_it_was

log = logging.getLogger(__name__)
LOWEST, HIGHEST = 1e-4, 1e4


class TaskDisentangler:
    """Learn for each task which channels of a frozen network it needs (neural architecture disentanglement).

    A gate `sigmoid(m)` multiplies every channel of the chosen layers. Over images of one task it minimises
    `(1/L) [CE(f_gated(x), y) + sum_l MSE(h_l gated, h_l)] + beta (1/L) sum_l mean_c sigmoid(m)^2`: keep what the network
    does for this task, let go of the rest. Each step moves the gates of a layer by `lr` against their gradient,
    normalised to length one over the channels. A unit belongs to the task where its gate ends above one half.

    Tasks do not meet in the objective, so that all are learned at once, folded into the batch.

    Arguments:
        model: a classifier; it is left bit for bit as it was.
        layers: "auto", names or globs.
        beta: the weight of sparsity. By default it is found for each task by bisection.
        target_sparsity: the share of units to switch off, for the bisection.
        lr, epochs, batch_size: of the gates; batches are of each task.
        images_per_task: at most so many are used.
        init: gates start at standard normal m, as published, or at zero.
        trials: fits that the bisection may take.
        classify: output of the model to logits; by default the output itself.
        cache_bytes: how much the activations of the intact network may take; beyond that they are recomputed.

    The released code leaves wrongly classified images in the cross-entropy and out of the rest, so that errors leak
    into the mask; here they are left out of both.

    Source: Hu, Ji, Zhang, Zhou, Cao, Gao, Zheng and Lin, "Architecture disentanglement for deep neural networks", 2021,
    arXiv:2003.13268.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: str | Sequence[str] = "auto",
        *,
        beta: float | None = None,
        target_sparsity: float = 0.3,
        lr: float = 0.1,
        epochs: int = 20,
        batch_size: int = 16,
        images_per_task: int = 200,
        init: Literal["normal", "zeros"] = "normal",
        trials: int = 8,
        seed: int = 0,
        classify: Callable[[Tensor], Tensor] | None = None,
        cache_bytes: int = 2**28,
    ) -> None:
        if beta is not None and beta < 0:
            raise ValueError(f"beta: {beta}; must not be negative")
        if not 0 < target_sparsity < 1:
            raise ValueError(f"target_sparsity: {target_sparsity}; must be between 0 and 1")
        if min(epochs, batch_size, images_per_task, trials) < 1 or lr <= 0:
            raise ValueError(
                f"epochs, batch_size, images_per_task, trials, lr: {epochs}, {batch_size}, {images_per_task}, {trials}, "
                f"{lr}; all must be positive"
            )
        if init not in ("normal", "zeros"):
            raise ValueError(f"init: {init!r}; allowed are 'normal' and 'zeros'")
        self.model, self.layers, self.beta, self.target_sparsity = model, layers, beta, target_sparsity
        self.lr, self.epochs, self.batch_size, self.images_per_task = lr, epochs, batch_size, images_per_task
        self.init, self.trials, self.seed, self.cache_bytes = init, trials, seed, cache_bytes
        self.classify = classify or as_embedding

    def fit(
        self,
        loader: Any,
        tasks: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
        *,
        start: Mapping[str, Tensor] | None = None,
    ) -> SubArchitectures:
        """Sub-architectures of the tasks: classes, or named sets of classes; by default every class that occurs.

        `loader` is `(x, label)` or an iterable of such batches. `start` are values of m for every layer,
        `[channels]` or `[tasks, channels]`, in place of `init`.

        A task without a correctly classified image keeps all units, with a warning and the verdict `inconclusive`.
        Raises ValueError for a task without images.
        """
        with left_as_it_was(self.model, seed=self.seed), frozen(self.model):
            x, label, members = self._images(loader, tasks)
            device = next((p.device for p in self.model.parameters()), x.device)
            x, label = in_its_precision(self.model, x.to(device)), label.to(device)
            sizes = gate_layers(self.model, self.layers, x[:2])
            gates = self._initial(sizes, len(members), start, device)
            originals = _Originals(self, list(sizes), x, label)
            judged = torch.stack([originals.correct[rows].any() for rows in members.values()])
            if self.beta is not None:
                beta = torch.full((len(members),), float(self.beta), device=device)
                final = self._descend(x, label, members, gates, beta, originals)
            else:
                final, beta = self._bisect(x, label, members, gates, originals)
        masks: dict[Any, dict[str, Tensor]] = {}
        values: dict[Any, dict[str, Tensor]] = {}
        for place, task in enumerate(members):
            known = bool(judged[place])
            if not known:
                log.warning("task %r: none of its images is classified correctly; all units are kept", task)
            opened = {name: torch.sigmoid(m[place]).cpu() for name, m in final.items()}
            values[task] = opened if known else {name: torch.ones_like(v) for name, v in opened.items()}
            masks[task] = {name: value > 0.5 for name, value in values[task].items()}
        verdicts = {task: "found" if bool(judged[i]) else "inconclusive" for i, task in enumerate(members)}
        betas = dict(zip(members, beta.tolist(), strict=True))
        return SubArchitectures(masks, values, betas, verdicts, self.classify)

    def _images(
        self, loader: Any, tasks: Sequence[int] | Mapping[str, Sequence[int]] | None
    ) -> tuple[Tensor, Tensor, dict[Any, Tensor]]:
        """At most `images_per_task` images a task, and the rows of each task among them."""
        wanted: dict[Any, set[int]] | None = None
        if isinstance(tasks, Mapping):
            wanted = {name: {int(c) for c in classes} for name, classes in tasks.items()}
        elif tasks is not None:
            wanted = {int(task): {int(task)} for task in tasks}
        kept: dict[int, list[Tensor]] = {}
        for images, labels in batches(loader):
            for c in labels.unique().tolist():
                if c >= 0 and (wanted is None or any(c in classes for classes in wanted.values())):
                    own = kept.setdefault(int(c), [])
                    room = self.images_per_task - sum(map(len, own))
                    own.append(images[labels == c][:room])
        if wanted is None:
            wanted = {c: {c} for c in sorted(kept)}
        if not wanted or not kept:
            raise ValueError("tasks: none; give labelled images, or name the classes")
        x = torch.cat([torch.cat(kept[c]) for c in sorted(kept)]).detach().clone()
        label = torch.cat([torch.full((sum(map(len, kept[c])),), c) for c in sorted(kept)])
        members = {}
        for task, classes in wanted.items():
            rows = torch.isin(label, torch.tensor(sorted(classes))).nonzero().squeeze(1)
            if not len(rows):
                raise ValueError(f"tasks: no image of task {task!r} among the data")
            order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(self.seed))
            members[task] = rows[order[: self.images_per_task]]
        return x, label, members

    def _initial(
        self, sizes: dict[str, int], tasks: int, start: Mapping[str, Tensor] | None, device: Any
    ) -> dict[str, Tensor]:
        if start is not None:
            return {name: start[name].to(device).expand(tasks, size).clone() for name, size in sizes.items()}
        if self.init == "zeros":
            return {name: torch.zeros(tasks, size, device=device) for name, size in sizes.items()}
        generator = torch.Generator().manual_seed(self.seed)
        return {name: torch.randn(tasks, size, generator=generator).to(device) for name, size in sizes.items()}

    def _bisect(
        self, x: Tensor, label: Tensor, members: dict[Any, Tensor], gates: dict[str, Tensor], originals: "_Originals"
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Fits with the logarithm of beta halved in, for all tasks side by side; of all trials the nearest is kept."""
        tasks = len(members)
        low = torch.full((tasks,), math.log(LOWEST), device=x.device)
        high = torch.full((tasks,), math.log(HIGHEST), device=x.device)
        best = {name: m.clone() for name, m in gates.items()}
        best_beta, miss = torch.zeros(tasks, device=x.device), torch.full((tasks,), math.inf, device=x.device)
        for _ in range(self.trials):
            middle = (low + high) / 2
            found = self._descend(x, label, members, gates, middle.exp(), originals)
            closed = sum((m <= 0).sum(1) for m in found.values()) / sum(m.shape[1] for m in found.values())
            off = torch.as_tensor(closed, device=x.device) - self.target_sparsity
            nearer = off.abs() < miss
            for name, m in found.items():
                best[name] = torch.where(nearer[:, None], m, best[name])
            best_beta, miss = torch.where(nearer, middle.exp(), best_beta), torch.where(nearer, off.abs(), miss)
            low, high = torch.where(off < 0, middle, low), torch.where(off < 0, high, middle)
        return best, best_beta

    def _descend(
        self,
        x: Tensor,
        label: Tensor,
        members: dict[Any, Tensor],
        start: dict[str, Tensor],
        beta: Tensor,
        originals: "_Originals",
    ) -> dict[str, Tensor]:
        gates = {name: m.clone() for name, m in start.items()}
        tasks, depth = len(members), len(gates)
        generator = torch.Generator().manual_seed(self.seed)
        longest = max(len(rows) for rows in members.values())
        size = min(self.batch_size, longest)
        owner = torch.arange(tasks, device=x.device).repeat_interleave(size)
        for _ in range(self.epochs):
            orders = [rows[torch.randperm(len(rows), generator=generator)] for rows in members.values()]
            for step in range(0, longest - size + 1, size):
                # a task with fewer images begins again, so that batches have one size
                rows = torch.cat([order[torch.arange(step, step + size) % len(order)] for order in orders]).to(x.device)
                target, ok = originals.of(rows)
                right = torch.zeros(tasks, device=x.device).index_add_(0, owner, ok)
                weight = ok / right.clamp(min=1)[owner]
                leaves = {name: m.requires_grad_() for name, m in gates.items()}
                opened = {name: torch.sigmoid(m) for name, m in leaves.items()}
                seen: dict[str, list[Tensor]] = {}
                with gated(self.model, {name: g[owner] for name, g in opened.items()}, seen=seen):
                    logits = self.classify(self.model(x[rows])).to(weight)
                loss = weight @ nn.functional.cross_entropy(logits, label[rows], reduction="none")
                for name, outputs in seen.items():
                    for output, original in zip(outputs, target[name], strict=True):
                        loss = loss + weight @ (output - original).to(weight).flatten(1).square().mean(1)
                sparsity = sum((beta @ g.square().mean(1) for g in opened.values()), torch.zeros((), device=x.device))
                gradients = torch.autograd.grad((loss + sparsity) / depth, list(leaves.values()))
                with torch.no_grad():
                    gates = {
                        name: m.detach() - self.lr * nn.functional.normalize(g, dim=1)
                        for (name, m), g in zip(leaves.items(), gradients, strict=True)
                    }
        return {name: m.detach() for name, m in gates.items()}


@contextlib.contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """No gradients for the parameters inside the block; which had them is put back behind it."""
    wanted = [p for p in model.parameters() if p.requires_grad]
    try:
        for parameter in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_()


class _Originals:
    """What the intact network makes of the images: kept where they fit, else computed when asked for."""

    def __init__(self, owner: TaskDisentangler, layers: list[str], x: Tensor, label: Tensor) -> None:
        self.owner, self.layers, self.x, self.label = owner, layers, x, label
        first, _ = self._run(x[:2])
        row = sum(t[0].numel() * t.element_size() for outputs in first.values() for t in outputs)
        self.kept: dict[str, list[Tensor]] | None = None
        parts = [self._run(part) for part in x.split(256)] if row * len(x) <= owner.cache_bytes else None
        if parts is not None:
            self.kept = {
                name: [torch.cat([p[0][name][i] for p in parts]) for i in range(len(first[name]))] for name in first
            }
            predicted = torch.cat([p[1] for p in parts])
        else:
            predicted = torch.cat([self._run(part)[1] for part in x.split(256)])
        self.correct = predicted == label

    @torch.no_grad()
    def _run(self, x: Tensor) -> tuple[dict[str, list[Tensor]], Tensor]:
        seen: dict[str, list[Tensor]] = {}
        with listening(self.owner.model, self.layers, seen):
            logits = self.owner.classify(self.owner.model(x))
        return seen, logits.argmax(1)

    def of(self, rows: Tensor) -> tuple[dict[str, list[Tensor]], Tensor]:
        ok = self.correct[rows].to(torch.get_default_dtype())
        if self.kept is not None:
            return {name: [t[rows] for t in outputs] for name, outputs in self.kept.items()}, ok
        return self._run(self.x[rows])[0], ok


def batches(loader: Any) -> Iterable[tuple[Tensor, Tensor]]:
    """`(images, labels)` of a pair of tensors or of an iterable of batches."""
    if isinstance(loader, (tuple, list)) and len(loader) == 2 and all(isinstance(part, Tensor) for part in loader):
        yield loader[0], loader[1].long()
        return
    for batch in loader:
        yield torch.as_tensor(batch[0]), torch.as_tensor(batch[1]).long()
