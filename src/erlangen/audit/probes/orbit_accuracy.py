"""Accuracy when the inputs are moved, and which classes the symmetry merges, in words."""

import dataclasses

import torch
from torch import Tensor

from erlangen.audit.budget import Needs
from erlangen.audit.collect import EMBEDDING
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.merging import Confusions, Merge, find_merges
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.verdict import judge
from erlangen.audit.words import percent
from erlangen.stats import bootstrap_bca, clopper_pearson, knn_classify

NEIGHBOURS = 5
MOST_MERGES = 5


@register("orbit_accuracy", summary="accuracy on moved inputs, and which classes the symmetry merges")
class OrbitAccuracy(Probe):
    """Accuracy per group element, and pairs of classes that the group takes into each other.

    Three readers answer for every moved input: the model's classifier (if given), the neighbours of its embedding
    among upright embeddings, and the neighbours of the raw input among upright inputs. The last knows nothing of the
    model: it tells which classes the symmetry merges in the data themselves; the others tell what the model makes
    of it. An input is never its own neighbour.
    """

    name = "orbit_accuracy"

    def needs(self, ctx: Context) -> Needs:
        rows = min(ctx.rows, ctx.budget.orbit_samples)
        elements = len(ctx.orbit) if ctx.orbit is not None else 0
        nbytes = (1 << 26) + rows * (8 * elements * 3 + 8 * torch.Size(ctx.input_shape).numel())
        return Needs(nbytes, labels=True, orbit=True, cheaper="Budget(orbit_samples=128)")

    def finish(self, ctx: Context) -> list[Finding]:
        orbit, held = ctx.orbit_rows, ctx.collected
        assert ctx.orbit is not None
        label = held.label[held.input_rows]
        keep = (label >= 0).nonzero().squeeze(1)
        if len(keep) < 10 or len(label[keep].unique()) < 2:
            raise NotApplicable("needs at least 10 labelled samples of at least two classes")
        label = label[keep]
        embeddings = [orbit.upright[EMBEDDING][keep], *(m[EMBEDDING][keep] for m in orbit.moved)]
        answers = {"embedding": _by_embedding(ctx, embeddings, keep), "input": _by_input(ctx, keep, label)}
        read = [ctx.classify(e) for e in embeddings]
        classified = [r for r in read if r is not None]
        if len(classified) == len(read):
            answers["classifier"] = torch.stack(classified)
        main = "classifier" if "classifier" in answers else "embedding"
        tables = {
            name: Confusions(a.clamp(0, ctx.num_classes - 1), label, ctx.num_classes) for name, a in answers.items()
        }
        first = keep[keep < len(orbit.there_and_back[0][EMBEDDING])]
        back = [m[EMBEDDING][first] for m in orbit.there_and_back]
        floor = _there_and_back(ctx, back, first, main)
        findings = _accuracy(ctx, answers[main], floor, label, main)
        return findings + _merges(ctx, tables, main)


def _by_embedding(ctx: Context, embeddings: list[Tensor], keep: Tensor) -> Tensor:
    held = ctx.collected
    bank, bank_label = held.embedding[held.labelled], held.label[held.labelled]
    own = torch.searchsorted(held.labelled, held.input_rows[keep])
    return torch.stack(
        [knn_classify(e, bank, bank_label, ctx.num_classes, k=NEIGHBOURS, exclude=own) for e in embeddings]
    )


def _by_input(ctx: Context, keep: Tensor, label: Tensor) -> Tensor:
    assert ctx.orbit is not None
    x = ctx.collected.inputs[keep]
    bank, own = x.flatten(1).float(), torch.arange(len(x))
    moved = [x, *(ctx.orbit.move(i, x) for i in range(len(ctx.orbit)))]
    return torch.stack(
        [knn_classify(m.flatten(1).float(), bank, label, ctx.num_classes, k=NEIGHBOURS, exclude=own) for m in moved]
    )


def _there_and_back(ctx: Context, embeddings: list[Tensor], keep: Tensor, main: str) -> Tensor:
    if main == "embedding":
        return _by_embedding(ctx, embeddings, keep)
    return torch.stack([r for r in (ctx.classify(e) for e in embeddings) if r is not None])


def _accuracy(ctx: Context, answers: Tensor, floor: Tensor, label: Tensor, main: str) -> list[Finding]:
    assert ctx.orbit is not None
    n, level = len(label), ctx.level
    right = (answers == label).double()
    upright, moved = right[0], right[1:].mean(0)
    reader = "the classifier" if main == "classifier" else f"the vote of the {NEIGHBOURS} nearest embeddings"
    low, high = clopper_pearson(int(upright.sum()), n, level=level)
    first = Finding(
        "orbit_accuracy",
        "orbit_accuracy.upright",
        float(upright.mean()),
        layer=EMBEDDING,
        ci=Interval(low, high, level, "clopper-pearson", n),
        direction="higher",
        meaning=f"As given, {reader} names the class of {percent(float(upright.mean()))} of the inputs.",
        rule="info: the accuracy that is good enough depends on the task",
        details={"per_sample": upright.tolist()},
    )
    low, high = bootstrap_bca(moved, level=level, generator=ctx.generator())
    ends = [clopper_pearson(int(r.sum()), n, level=level) for r in right[1:]]
    series = {
        "name": reader,
        "x": ctx.orbit.labels,
        "y": right[1:].mean(1).tolist(),
        "low": [e[0] for e in ends],
        "high": [e[1] for e in ends],
    }
    second = Finding(
        "orbit_accuracy",
        "orbit_accuracy.orbit",
        float(moved.mean()),
        layer=EMBEDDING,
        group=ctx.orbit.name,
        ci=Interval(low, high, level, "bootstrap-bca", n),
        reference=Reference(float(upright.mean()), kind="baseline", source="the same inputs as given"),
        direction="higher",
        meaning=f"Moved by {ctx.orbit.name}, {reader} names the class of {percent(float(moved.mean()))}.",
        rule="info: see the drop",
        figure=FigureSpec(
            "curve",
            f"Accuracy under {ctx.orbit.name}",
            "group element",
            "accuracy",
            [series],
            [{"name": "as given", "value": float(upright.mean())}],
        ),
        details={"elements": ctx.orbit.labels, "accuracy": right[1:].mean(1).tolist(), "per_sample": moved.tolist()},
    )
    drop = upright - moved
    low, high = bootstrap_bca(drop, level=level, generator=ctx.generator())
    few = floor.shape[1]  # `keep` is sorted, so that the rows of the floor are its first
    blurred = upright[:few] - (floor == label[:few]).double().mean(0)
    blurred_high = max(0.0, bootstrap_bca(blurred, level=level, generator=ctx.generator())[1])
    third = Finding(
        "orbit_accuracy",
        "orbit_accuracy.drop",
        float(drop.mean()),
        layer=EMBEDDING,
        group=ctx.orbit.name,
        ci=Interval(low, high, level, "bootstrap-bca", n),
        reference=Reference(float(blurred.mean()), kind="floor", source="moving the inputs there and back"),
        meaning=f"Moving the inputs by {ctx.orbit.name} costs {percent(float(drop.mean()))} of accuracy.",
        details={"per_sample": drop.tolist()},
    )
    largest = float(torch.bincount(label).max()) / n
    if first.ci is not None and first.ci.low <= largest:
        reason = "info: the accuracy as given is not above always answering the largest class, so it cannot drop"
        return [first, second, dataclasses.replace(third, rule=reason)]
    # half a sample in n is the resolution of an accuracy, so that an exactly invariant model can pass
    threshold = max(blurred_high, 0.5 / n)
    return [first, second, judge(third, threshold, good="below", because="what moving there and back costs, upper end")]


def _merges(ctx: Context, tables: dict[str, Confusions], main: str) -> list[Finding]:
    assert ctx.orbit is not None
    inverses = [ctx.orbit.inverse_of(i) for i in range(len(ctx.orbit))]
    found = find_merges(tables["input"], inverses, level=ctx.level)
    by_model = [
        m for m in find_merges(tables[main], inverses, level=ctx.level) if {m.a, m.b} not in [{f.a, f.b} for f in found]
    ]
    findings = [_merge(ctx, m, tables, main, in_data=True) for m in found]
    findings.sort(key=lambda f: (not f.details["merged"], -f.details["evidence"]))
    findings = findings[:MOST_MERGES]
    return findings + [_merge(ctx, m, tables, main, in_data=False) for m in by_model[: MOST_MERGES - len(findings)]]


def _evidence(ctx: Context, merge: Merge, table: Confusions) -> tuple[bool, float]:
    """Whether this reader merges a pair that the data merge, and how strongly.

    It does if it reads both ways as the other class above chance, or, as an invariant model must, takes unmoved
    members of the two for each other more often than members of other pairs, beyond the interval.
    """
    there, back = table.reading(merge.element, merge.a, merge.b), table.reading(merge.back, merge.b, merge.a)
    reads = all(
        r.interval(ctx.level)[0] > max(1 / table.num_classes, table.read_by_others(e, x, y))
        for r, e, x, y in ((there, merge.element, merge.a, merge.b), (back, merge.back, merge.b, merge.a))
    )
    pair, others = table.mistaken(merge.a, merge.b)
    strength = max((there.share * back.share) ** 0.5, pair.share)
    return reads or pair.interval(ctx.level)[0] > others, strength


def _by_the_model(ctx: Context, merge: Merge, tables: dict[str, Confusions], main: str, *, merged: bool) -> str:
    """What the model makes of a pair that the data merge, by the reader that shows it."""
    a, b = ctx.class_name(merge.a), ctx.class_name(merge.b)
    reads = tables[main].reading(merge.element, merge.a, merge.b)
    own = tables[main].reading(merge.element, merge.a, merge.a)
    text = f"; the model reads {percent(reads.share)} of them as {b} and {percent(own.share)} as {a}"
    if not merged:
        return f"{text}: it keeps the two apart" if own.share > reads.share else text
    for name in (main, "embedding"):
        pair, others = tables[name].mistaken(merge.a, merge.b)
        if pair.interval(ctx.level)[0] > others:
            reader = "it" if name == "classifier" else "the nearest embedding"
            text += f"; even as given, {reader} takes one for the other in {percent(pair.share)} of cases"
            return f"{text} (any two other classes: {percent(others)})"
    if reads.interval(ctx.level)[0] <= 1 / ctx.num_classes:  # then the neighbours of the embedding showed the merge
        shown = tables["embedding"].reading(merge.element, merge.a, merge.b)
        text += f", but {percent(shown.share)} of them have {b} as nearest embedding"
    return text


def _merge(ctx: Context, merge: Merge, tables: dict[str, Confusions], main: str, *, in_data: bool) -> Finding:
    assert ctx.orbit is not None
    a, b = ctx.class_name(merge.a), ctx.class_name(merge.b)
    label = ctx.orbit.labels[merge.element]
    data = tables["input"].reading(merge.element, merge.a, merge.b)
    model = tables[main].reading(merge.element, merge.a, merge.b)
    low, high = model.interval(ctx.level)
    pair, others = tables[main].mistaken(merge.a, merge.b)
    pair_low, pair_high = pair.interval(ctx.level)
    evidence = {name: _evidence(ctx, merge, table) for name, table in tables.items() if name != "input"}
    merged = in_data and any(seen for seen, _ in evidence.values())
    how = f"{ctx.orbit.name} element {label}" if not label.endswith("°") else f"rotation by {label}"
    if in_data:
        sentence = f"{how} makes {a} look like {b}: {percent(data.share)} of the moved {a} are, as images, nearest to an unmoved {b}"
        sentence += _by_the_model(ctx, merge, tables, main, merged=merged)
    else:
        sentence = f"under {how} the model reads a moved {a} as {b} in {percent(model.share)} of cases"
    readings = {}
    for name, table in tables.items():
        there = table.reading(merge.element, merge.a, merge.b)
        back = table.reading(merge.back, merge.b, merge.a)
        readings[name] = {"there": [there.hits, there.total], "back": [back.hits, back.total]}
    finding = Finding(
        "orbit_accuracy",
        f"orbit_accuracy.merges.{a}.{b}",
        model.share,
        layer=EMBEDDING,
        group=ctx.orbit.name,
        ci=Interval(low, high, ctx.level, "clopper-pearson", model.total),
        reference=Reference(
            data.share, *data.interval(ctx.level), "baseline", f"moved {a} whose nearest upright inputs are {b}"
        ),
        verdict="warn" if merged else "info",
        meaning=sentence[0].upper() + sentence[1:] + ".",
        rule="merged if the inputs read as each other both ways, above chance, corrected for all pairs and elements, "
        "and the model reads them so too or takes unmoved ones for each other more often than other pairs",
        details={
            "pair": [a, b],
            "merged": merged,
            "in_data": in_data,
            "merged_by": [name for name, (seen, _) in evidence.items() if seen],
            "evidence": max(strength for _, strength in evidence.values()),
            "element": label,
            "readings": readings,
            "mistaken_as_given": [pair.hits, pair.total],
            "mistaken_interval": [pair_low, pair_high],
            "other_pairs": others,
        },
    )
    return dataclasses.replace(finding, direction="lower")
