"""`audit`: choose probes, plan, run the model once over the data, let every probe speak, judge."""

import dataclasses
import platform
import resource
import time
from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from erlangen.audit.budget import Budget, check_plan
from erlangen.audit.collect import EMBEDDING, collect, regular_orders, run_model
from erlangen.audit.finding import Cost, Finding
from erlangen.audit.inputs import Source, open_source
from erlangen.audit.orbit import Orbit, build_orbit
from erlangen.audit.panels import build_panels
from erlangen.audit.preserve import left_as_it_was
from erlangen.audit.presets import choose
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.report import Report
from erlangen.audit.verdict import correct_for_many
from erlangen.nn.tap import resolve_layers, untrained_twin


def audit(
    model: nn.Module,
    data: Any,
    *,
    probes: Any = "standard",
    layers: Any = "auto",
    group: Any = None,
    reference: Any = "untrained",
    budget: Budget | None = None,
    ci: float = 0.95,
    seed: int = 0,
    device: Any = None,
    classifier: Callable[[Tensor], Tensor | None] | None = None,
) -> Report:
    """Look at a model and its data; return findings with intervals, references and verdicts.

    Arguments:
        model: `[batch, ...] -> [batch, dimensions]`. It is left bit for bit as it was.
        data: a data set (its test part is used), `(x, labels)`, a `DataLoader` or an iterable of batches.
        probes: a preset ("fast", "standard", "symmetry"), names, or `Probe` objects.
        layers: "auto", names or globs.
        group: a name ("SO(2)"), a group or an action; left out, the first symmetry that the model declares.
        reference: "untrained" for a re-initialised twin, another model, or None.
        budget: limits on time, memory and samples.
        classifier: embeddings to logits, for what is said about classes.

    Raises ValueError for an unknown probe or layer, a group that cannot act on the data, samples with NaN; `PlanError`
    (before anything is computed) for a plan over the budget.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: got {type(model).__name__}; it must be a torch.nn.Module")
    if not 0 < ci < 1:
        raise ValueError(f"ci: {ci}; must be between 0 and 1, for example 0.95")
    budget = budget or Budget()
    chosen, began = choose(probes), time.perf_counter()
    source = open_source(data, samples=budget.samples, seed=seed)
    device = device or next((p.device for p in model.parameters()), torch.device("cpu"))
    with left_as_it_was(model, seed=seed):
        ctx = _context(model, source, layers, group, reference, budget, ci, seed, device, classifier)
        needs = {probe.name: probe.needs(ctx) for probe in chosen}
        rows = min(budget.samples, source.available or budget.samples)
        planned = check_plan(_shared_bytes(ctx, rows, budget), needs, budget)
        ctx.collected = collect(
            source,
            lambda x: run_model(model, x, ctx.layers, ctx.pools),
            samples=budget.samples,
            inputs=budget.orbit_samples,
            seed=seed,
            device=device,
        )
        ctx.num_classes = max(int(ctx.collected.label.max()) + 1, len(ctx.class_names))
        findings: list[Finding] = []
        for probe in chosen:
            findings += _run_probe(probe, ctx, needs[probe.name].nbytes, began)
        findings = correct_for_many(findings, level=ci)
        panels = build_panels(findings, ctx)
    header = _header(model, source, ctx, findings, began, planned)
    return Report(findings, header, panels)


def _context(
    model: nn.Module,
    source: Source,
    layers: Any,
    group: Any,
    reference: Any,
    budget: Budget,
    ci: float,
    seed: int,
    device: Any,
    classifier: Callable[[Tensor], Tensor | None] | None,
) -> Context:
    batches = iter(source.batches)
    first = next(batches, None)
    if first is None:
        raise ValueError("data: no samples")
    source.batches = chain([first], batches)
    x = first[0]
    with torch.inference_mode():  # two samples tell all sizes, and materialise lazy layers before names are resolved
        model(x[:2].to(device))
    names = resolve_layers(model, layers) if layers else []
    pools = regular_orders(model, names)
    sizes = {name: value.shape[1] for name, value in run_model(model, x[:2].to(device), names, pools).items()}
    orbit = _orbit(model, group, x, seed)
    twin, twin_name = None, ""
    if isinstance(reference, nn.Module):
        twin, twin_name = reference, "the reference model"
        twin.eval()
    elif reference == "untrained":
        twin, twin_name = untrained_twin(model, seed=seed).eval(), "the same architecture with fresh weights"
    elif reference is not None:
        raise ValueError(f"reference: {reference!r}; allowed are 'untrained', a model or None")
    labels = max(int(first[1].max()) + 1, len(source.class_names))
    return Context(
        model=model,
        twin=twin,
        twin_name=twin_name,
        layers=names,
        pools=pools,
        orbit=orbit,
        classifier=classifier,
        num_classes=labels,
        class_names=source.class_names,
        level=ci,
        seed=seed,
        budget=budget,
        device=device,
        rows=min(budget.samples, source.available or budget.samples),
        dimensions=sizes,
        input_shape=tuple(x.shape[1:]),
    )


def _orbit(model: nn.Module, group: Any, x: Tensor, seed: int) -> Orbit | None:
    if group is None:
        declared = list(getattr(model, "symmetries", None) or [])
        inner = getattr(model, "model", None)
        if not declared and isinstance(inner, nn.Module):
            declared = list(getattr(inner, "symmetries", None) or [])
        if not declared:
            return None
        group = declared[0].group
    return build_orbit(group, x, seed=seed)


def _shared_bytes(ctx: Context, rows: int, budget: Budget) -> int:
    inputs = min(rows, budget.orbit_samples)
    row = 4 * sum(ctx.dimensions.values())
    sets = 1 + 3 * len(ctx.orbit) if ctx.orbit is not None else 1
    # a reservoir copies its rows when it absorbs a batch, hence the factor of two
    return 2 * rows * (row + 24) + inputs * (8 * torch.Size(ctx.input_shape).numel() + sets * row)


def _run_probe(probe: Probe, ctx: Context, nbytes: int, began: float) -> list[Finding]:
    """The findings of one probe; whatever goes wrong in it becomes a finding, so that it cannot take the rest along."""
    start = time.perf_counter()
    empty = Finding(probe.name, f"{probe.name}.not_applicable", float("nan"), verdict="not_applicable")
    if start - began > ctx.budget.seconds:
        reason = f"not run: the {ctx.budget.seconds:g} seconds of the budget were spent; raise Budget(seconds=...)"
        return [dataclasses.replace(empty, meaning=reason)]
    try:
        found = probe.finish(ctx)
    except NotApplicable as reason:
        return [dataclasses.replace(empty, meaning=str(reason), rule="the probe has nothing to measure")]
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        return [dataclasses.replace(empty, meaning=text, rule="the probe failed", warnings=(text,))]
    cost = Cost(time.perf_counter() - start, nbytes, len(ctx.collected))
    return [dataclasses.replace(f, cost=cost) for f in found]


def _header(
    model: nn.Module, source: Source, ctx: Context, findings: list[Finding], began: float, planned: int
) -> dict[str, Any]:
    inner = getattr(model, "model", None)
    name = type(inner if isinstance(inner, nn.Module) else model).__name__
    merged: list[list[str]] = []
    for f in findings:
        if f.metric.startswith("orbit_accuracy.merges.") and f.details.get("merged"):
            pair = sorted(map(str, f.details["pair"]))
            if pair not in merged:
                merged.append(pair)
    return {
        "model": name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "data": source.name,
        "n_used": len(ctx.collected),
        "n_available": source.available,
        "seed": ctx.seed,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "seconds": time.perf_counter() - began,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "planned_bytes": planned,
        "command": f"er.audit(model, data, group={ctx.orbit.name if ctx.orbit else None!r}, seed={ctx.seed})",
        "group": ctx.orbit.name if ctx.orbit else None,
        "classes": [ctx.class_name(c) for c in range(ctx.num_classes)],
        "merged_classes": merged,
        "layers": [*ctx.layers, EMBEDDING],
    }
