"""`audit`: choose probes, plan, run the model once over the data, let every probe speak, judge."""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from erlangen.audit.budget import Budget, Needs, PlanError, check_plan
from erlangen.audit.collect import EMBEDDING, TWIN_ROWS_KEPT, NotApplicable
from erlangen.audit.finding import Cost, Finding, Reference
from erlangen.audit.header import make_header
from erlangen.audit.inputs import open_source, training_part
from erlangen.audit.panels import build_panels
from erlangen.audit.passing import Pass
from erlangen.audit.preserve import left_as_it_was
from erlangen.audit.presets import choose
from erlangen.audit.probe import Context, Probe
from erlangen.audit.report import Report
from erlangen.audit.setting import make_context, raw_bytes, shared_bytes
from erlangen.audit.shards import shard, together
from erlangen.audit.training import training_findings, training_record
from erlangen.audit.verdict import correct_for_many
from erlangen.audit.wrap import as_subject
from erlangen.stats.sequential import spend

LOOKS = 4


def audit(
    model: Any,
    data: Any,
    *,
    probes: Any = None,
    layers: Any = "auto",
    group: Any = None,
    reference: Any = "untrained",
    budget: Budget | None = None,
    ci: float = 0.95,
    seed: int = 0,
    device: Any = None,
    classifier: Callable[[Tensor], Tensor | None] | None = None,
    training: Any = None,
    until: Literal["decided"] | None = None,
) -> Report:
    """Look at a model and its data; return findings with intervals, references and verdicts.

    Arguments:
        model: `[batch, ...] -> [batch, dimensions]`: a module, a fitted run, a function, a pair of a function and its
            parameters; None looks at the data alone. It is left bit for bit as it was.
        data: a data set (its test part is used; all of it without a model), `(x, labels)`, a `DataLoader` or an
            iterable of batches.
        probes: a preset (`erlangen.audit.PRESETS`), names, or `Probe` objects; left out, "standard", and "dataset"
            without a model.
        layers: "auto", names or globs.
        group: a name ("SO(2)"), a group or an action; left out, the first symmetry that the model declares.
        reference: "untrained" for a re-initialised twin, another model, an older report, or None.
        budget: limits on time, memory and samples.
        classifier: embeddings to logits, for what is said about classes.
        training: samples that the model was fitted on, in any form that `data` may have; left out, the train part of a
            data set that has one.
        until: "decided" looks at more and more samples and stops when every verdict is decided; the confidence is
            spent over the looks, so that looking often does not make false alarms likelier.

    In a process group (`torch.distributed`) every process reads its share and all return the report of one process.

    Raises ValueError for an unknown probe or layer, a group that cannot act on the data, samples with NaN; `PlanError`
    (before anything is computed) for a plan over the budget.
    """
    subject = as_subject(model)
    if not 0 < ci < 1:
        raise ValueError(f"ci: {ci}; must be between 0 and 1, for example 0.95")
    if until not in (None, "decided"):
        raise ValueError(f"until: {until!r}; allowed are 'decided' and None")
    budget, began, network = budget or Budget(), time.perf_counter(), subject.model
    if probes is None:
        probes = "standard" if network is not None else "dataset"
    chosen, looks = choose(probes), LOOKS if until else 1
    sizes = {"samples": budget.samples, "seed": seed, "batch_size": 256 if looks == 1 else 64}
    source = open_source(data, **sizes, shard=shard(), looks=looks, held_out=network is not None)
    if device is None:
        device = next((p.device for p in network.parameters()), None) if network is not None else None
        device = device or torch.device("cpu")
    older = reference if isinstance(reference, Report) else None
    with left_as_it_was(network, subject.inside, reference, classifier, seed=seed):
        ctx = make_context(
            network,
            source,
            layers=layers,
            group=group,
            reference="untrained" if older is not None else reference,
            training=None,
            budget=budget,
            level=ci,
            seed=seed,
            device=device,
            classifier=classifier if classifier is not None else subject.classifier,
        )
        needs, silent = _needs(chosen, ctx)
        raw, twin = any(n.raw for n in needs.values()) or network is None, any(n.twin for n in needs.values())
        shared = shared_bytes(ctx, twin_rows=TWIN_ROWS_KEPT if twin else 0)
        planned = check_plan(shared, needs, budget, raw=raw_bytes(ctx) if raw else 0, rows=ctx.rows)
        if network is not None and any(n.training for n in needs.values()):
            known = training_part(training if training is not None else data, samples=TWIN_ROWS_KEPT, seed=seed)
            ctx.training = known if training is not None or hasattr(data, "splits") else None
        batches, passing = iter(source.batches), Pass(ctx, chosen, raw=raw, twin=twin)
        for look in range(1, looks + 1):
            expected = ctx.rows // shard()[1]
            until_rows = None if look == looks else expected >> (looks - look)
            together(lambda rows=until_rows: passing.run(batches, until=rows))  # type: ignore[misc]
            findings = _look(passing, chosen, needs, silent, ctx, began, level=1 - spend(1 - ci, look, looks))
            undecided = any(f.verdict == "inconclusive" and f.needs_samples is not None for f in findings)
            if not undecided or len(ctx.collected) >= ctx.rows:
                break
        panels = build_panels(findings, ctx)
    header = make_header(subject.name, source, ctx, findings, planned)
    if subject.run is not None:
        header["training"] = training_record(subject.run)
        findings += training_findings(header["training"])
    header["seconds"] = time.perf_counter() - began
    return Report(_beside(findings, older), header, panels)


def _needs(chosen: list[Probe], ctx: Context) -> tuple[dict[str, Needs], dict[str, Exception]]:
    """What every probe needs; a probe that cannot say so is left out and speaks its error."""
    needs: dict[str, Needs] = {}
    silent: dict[str, Exception] = {}
    for probe in chosen:
        try:
            needs[probe.name] = probe.needs(ctx)
        except PlanError:
            raise
        except Exception as error:
            silent[probe.name] = error
    return needs, silent


def _look(
    passing: Pass,
    chosen: list[Probe],
    needs: dict[str, Needs],
    silent: dict[str, Exception],
    ctx: Context,
    began: float,
    *,
    level: float,
) -> list[Finding]:
    """The findings of all probes on what has been read so far."""
    whole = passing.merged()
    ctx.level, ctx.collected, ctx.states = level, whole.collector.compute(), whole.states
    for name in ("orbit_rows", "training_rows"):
        vars(ctx).pop(name, None)
    ctx.num_classes = max(int(ctx.collected.label.max()) + 1, ctx.num_classes)
    findings = [_not_finite(layer, bad, ctx) for layer, bad in ctx.collected.not_finite.items()]
    for probe in chosen:
        trouble = silent.get(probe.name) or whole.broken.get(probe.name)
        need = needs.get(probe.name, Needs())
        findings += _run_probe(probe, ctx, need.nbytes + need.state_bytes, began, trouble)
    return correct_for_many(findings, level=level)


def _run_probe(probe: Probe, ctx: Context, nbytes: int, began: float, trouble: Exception | None) -> list[Finding]:
    """The findings of one probe; whatever goes wrong in it becomes a finding, so that it cannot take the rest along."""
    start = time.perf_counter()
    empty = Finding(probe.name, f"{probe.name}.not_applicable", float("nan"), verdict="not_applicable")
    if start - began > ctx.budget.seconds:
        reason = f"not run: the {ctx.budget.seconds:g} seconds of the budget were spent; raise Budget(seconds=...)"
        return [dataclasses.replace(empty, meaning=reason)]
    modules = [m for m in (ctx.network, ctx.twin) if isinstance(m, nn.Module)]
    try:
        if trouble is not None:
            raise trouble
        found = list(probe.finish(ctx))
    except NotApplicable as reason:
        return [dataclasses.replace(empty, meaning=str(reason), rule="the probe has nothing to measure")]
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        return [dataclasses.replace(empty, meaning=text, rule="the probe failed", warnings=(text,))]
    finally:
        for module in modules:
            module.eval()
    cost = Cost(time.perf_counter() - start, nbytes, len(ctx.collected))
    return [dataclasses.replace(f, cost=cost, warnings=(*f.warnings, *_sketch_warning(f, ctx))) for f in found]


def _not_finite(layer: str, bad: int, ctx: Context) -> Finding:
    seen, what = len(ctx.collected), "embedding" if layer == EMBEDDING else f"output of {layer}"
    return Finding(
        "finite",
        "finite.share",
        1 - bad / seen,
        layer=layer,
        verdict="fail",
        meaning=f"The {what} is NaN or infinite for {bad:,} of {seen:,} inputs; nothing else is said about it.",
        rule="fail if any input gives NaN or infinity",
        direction="higher",
    )


def _sketch_warning(finding: Finding, ctx: Context) -> tuple[str, ...]:
    width = ctx.sketched.get(finding.layer)
    if width is None:
        return ()
    return (
        f"{finding.layer} has {width:,} values a sample; a random sketch of {ctx.dimensions[finding.layer]:,} was looked at",
    )


def _beside(findings: list[Finding], older: Report | None) -> list[Finding]:
    """The findings with those of an older report as their reference, where it has them."""
    if older is None:
        return findings
    before = {f.key: f for f in older.findings}
    source = f"{older.header.get('model', 'the older report')}, as audited before"
    told = []
    for f in findings:
        if (old := before.get(f.key)) is not None:
            low, high = (old.ci.low, old.ci.high) if old.ci is not None else (math.nan, math.nan)
            f = dataclasses.replace(f, reference=Reference(old.value, low, high, "previous", source))
        told.append(f)
    return told
