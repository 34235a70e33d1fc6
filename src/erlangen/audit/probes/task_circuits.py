"""Which units carry which class, and whether errors go to classes that share units."""

import torch
from torch import Tensor

from erlangen.audit.budget import Needs
from erlangen.audit.circuits import SubArchitectures, TaskDisentangler
from erlangen.audit.circuits.gates import gated
from erlangen.audit.circuits.sub_architectures import ConfusionAgreement
from erlangen.audit.collect import as_embedding, in_its_precision
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.verdict import judge
from erlangen.stats import paired_difference

CITATION = "Hu et al. 2021, arXiv:2003.13268"
CACHE = 2**27
MOST_TASKS = 20
DRAWS = 39  # the highest of 39 draws is the 97.5 % quantile, exactly


@register(
    "task_circuits",
    summary="the units that carry each class, and whether errors go to classes that share them",
    paper="arXiv:2003.13268",
)
class TaskCircuits(Probe):
    """A sub-architecture for every class, learned on one half of the kept inputs and tested on the other.

    It passes where the network restricted to a class's own units is right about that class more often than restricted
    to as many units drawn at random, in any of 39 draws.

    Arguments:
        target_sparsity: the share of units to switch off.
        epochs, lr, batch_size, trials: of `TaskDisentangler`.
    """

    name = "task_circuits"

    def __init__(
        self, target_sparsity: float = 0.5, *, epochs: int = 15, lr: float = 0.3, batch_size: int = 16, trials: int = 5
    ) -> None:
        self.options = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "trials": trials}
        self.target_sparsity = target_sparsity

    def needs(self, ctx: Context) -> Needs:
        pixels = torch.Size(ctx.input_shape).numel()
        folded = 4 * 16 * max(ctx.num_classes, 2) * (pixels + 8 * sum(ctx.dimensions.values()))
        return Needs(
            CACHE + folded + 4 * ctx.budget.orbit_samples * pixels,
            labels=True,
            cheaper="Budget(orbit_samples=...) with fewer inputs",
        )

    def finish(self, ctx: Context) -> list[Finding]:
        if not ctx.layers:
            raise NotApplicable("the model has no layers to switch units off in, or none were chosen")
        held = ctx.collected
        label = held.label[held.input_rows]
        x = in_its_precision(ctx.model, held.inputs.clone())
        train, test = self._halves(label, ctx)
        disentangler = TaskDisentangler(
            ctx.model,
            target_sparsity=self.target_sparsity,
            images_per_task=64,
            seed=ctx.seed,
            classify=self._classify(ctx),
            cache_bytes=CACHE,
            **self.options,  # type: ignore[arg-type]
        )
        found = disentangler.fit((x[train], label[train]))
        return self.judged(ctx, found, x[test], label[test])

    def _classify(self, ctx: Context) -> object:
        if ctx.classifier is not None:
            classifier = ctx.classifier
            return lambda output: classifier(as_embedding(output))
        if ctx.collected.embedding.shape[1] != ctx.num_classes:
            raise NotApplicable(
                f"the model puts out {ctx.collected.embedding.shape[1]} numbers for {ctx.num_classes} classes: give it a "
                "classifier=..."
            )
        rows = ctx.collected.labelled
        right = (ctx.collected.embedding[rows].argmax(1) == ctx.collected.label[rows]).double().mean()
        if float(right) < 2 / ctx.num_classes:
            raise NotApplicable(
                f"as logits the model's output is right for {100 * float(right):.0f} % of the inputs only"
            )
        return as_embedding

    def _halves(self, label: Tensor, ctx: Context) -> tuple[Tensor, Tensor]:
        train, test = [], []
        for c in label[label >= 0].unique().tolist():
            rows = (label == c).nonzero().squeeze(1)
            if len(rows) >= 4:
                rows = rows[torch.randperm(len(rows), generator=ctx.generator())]
                train.append(rows[: len(rows) // 2])
                test.append(rows[len(rows) // 2 :])
        if not 2 <= len(train) <= MOST_TASKS:
            raise NotApplicable(
                f"{len(train)} classes with four kept inputs or more; 2 to {MOST_TASKS} are needed: see Budget(orbit_samples=...)"
            )
        return torch.cat(train), torch.cat(test)

    def judged(self, ctx: Context, found: SubArchitectures, x: Tensor, label: Tensor) -> list[Finding]:
        own, generator = _own_class(ctx, found, x, label), ctx.generator()
        draws = torch.stack([_own_class(ctx, found.random(generator=generator), x, label) for _ in range(DRAWS)])
        control = draws.mean(0)
        luckiest = float(draws.mean(1).max())
        difference, low, high = paired_difference(own, control, level=ctx.level, generator=ctx.generator())
        kept = found.kept()
        mean = sum(kept.values()) / len(kept)
        names = [ctx.class_name(task) for task in found.tasks]
        accuracy = [float(own[label == task].mean()) for task in found.tasks]
        drawn = [float(control[label == task].mean()) for task in found.tasks]
        warnings = tuple(
            f"{ctx.class_name(task)}: no input classified correctly, so all its units are kept"
            for task, verdict in found.verdicts.items()
            if verdict != "found"
        )
        bars = FigureSpec(
            "bars",
            f"Right about its class with {100 * mean:.0f} % of the units",
            "class",
            "accuracy on the class",
            [
                {"name": "the class's own units", "x": names, "y": accuracy},
                {"name": "as many units at random", "x": names, "y": drawn},
            ],
        )
        first = Finding(
            "task_circuits",
            "task_circuits.own_units",
            difference,
            ci=Interval(low, high, ctx.level, "bootstrap-bca", len(own)),
            reference=Reference(
                0.0,
                high=luckiest - float(control.mean()),
                kind="null",
                source=f"as many units of every layer drawn at random, {DRAWS} times",
            ),
            meaning=f"With the {100 * mean:.0f} % of units found for a class the model is right about it in "
            f"{100 * float(own.mean()):.0f} % of cases, with as many at random in {100 * float(control.mean()):.0f} % "
            f"(at best {100 * luckiest:.0f} %).",
            warnings=warnings,
            citation=CITATION,
            figure=bars,
            details={"kept": {ctx.class_name(t): v for t, v in kept.items()}, "accuracy": accuracy, "random": drawn},
        )
        because = f"the luckiest of {DRAWS} draws of as many units"
        first = judge(first, luckiest - float(control.mean()), good="above", because=because)
        return [first, self._similar(found, names), *self._confusions(ctx, found, x, label)]

    def _similar(self, found: SubArchitectures, names: list[str]) -> Finding:
        matrix = found.similarity()
        off = matrix - 2 * torch.eye(len(matrix), dtype=matrix.dtype)
        i, j = divmod(int(off.argmax()), len(matrix))
        value = float(matrix[i, j])
        return Finding(
            "task_circuits",
            "task_circuits.similarity",
            value,
            meaning=f"{names[i]} and {names[j]} share most units: {100 * value:.0f} % of those that either has, averaged over "
            "layers.",
            rule="info: how many units classes share depends on the task",
            citation=CITATION,
            figure=FigureSpec(
                "matrix", "Units that classes share (Jaccard index)", rows=names, columns=names, values=matrix.tolist(),
                vmin=0.0, vmax=1.0,
            ),
            details={"pair": [names[i], names[j]], "matrix": matrix.tolist()},
        )  # fmt: skip

    def _confusions(self, ctx: Context, found: SubArchitectures, x: Tensor, label: Tensor) -> list[Finding]:
        if len(found.tasks) < 4:
            return []
        agreement: ConfusionAgreement = found.confusion_agreement(ctx.model, (x, label), generator=ctx.generator())
        if agreement.errors == 0:
            return []
        return [
            Finding(
                "task_circuits",
                "task_circuits.confusions",
                agreement.rank,
                reference=Reference(
                    agreement.chance, kind="null", source="classes in an order that has nothing to do with it"
                ),
                direction="lower",
                meaning=f"The {agreement.errors} misread inputs are taken for the class that is number {agreement.rank:.1f} on "
                f"average among those that share units with their own (by chance {agreement.chance:.1f}).",
                rule="info: the p-value by renaming classes is in the details",
                citation=CITATION,
                details={"spearman": agreement.spearman, "p_value": agreement.p_value, "errors": agreement.errors},
            )
        ]


def _own_class(ctx: Context, found: SubArchitectures, x: Tensor, label: Tensor) -> Tensor:
    """For each image whether its own class's sub-architecture is right about it: one pass, a mask for each image."""
    order = torch.tensor(found.tasks)
    place = torch.searchsorted(order, label)
    layers = found.masks[found.tasks[0]]
    gates = {name: torch.stack([found.masks[t][name] for t in found.tasks]).float() for name in layers}
    right = []
    with torch.no_grad():
        for part, own in zip(x.split(256), place.split(256), strict=True):
            with gated(ctx.model, {name: gate[own].to(ctx.device) for name, gate in gates.items()}):
                right.append(found.classify(ctx.model(part.to(ctx.device))).argmax(1).cpu())
    return (torch.cat(right) == label).double()
