"""The head of a report: what was looked at, how much of it, at what cost, and how to do it again."""

import platform
import resource
from typing import Any

import torch

from erlangen.audit.collect import EMBEDDING
from erlangen.audit.finding import Finding
from erlangen.audit.inputs import Source
from erlangen.audit.probe import Context


def make_header(name: str, source: Source, ctx: Context, findings: list[Finding], planned: int) -> dict[str, Any]:
    """Everything but the seconds, which are known when all is done."""
    merged: list[list[str]] = []
    for f in findings:
        if f.metric.startswith("orbit_accuracy.merges.") and f.details.get("merged"):
            pair = sorted(map(str, f.details["pair"]))
            if pair not in merged:
                merged.append(pair)
    network = ctx.network
    group = ctx.orbit.name if ctx.orbit else None
    options = f"group={group!r}, " if group else ""
    return {
        "model": name,
        "parameters": sum(p.numel() for p in network.parameters()) if network is not None else None,
        "data": source.name,
        "n_used": len(ctx.collected),
        "n_available": source.available,
        "seed": ctx.seed,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "planned_bytes": planned,
        "command": f"er.audit({'model' if network is not None else None}, data, {options}seed={ctx.seed})",
        "group": group,
        "classes": [ctx.class_name(c) for c in range(ctx.num_classes)],
        "merged_classes": merged,
        "layers": [*ctx.layers, EMBEDDING] if network is not None else [],
        "sketched": dict(ctx.sketched),
    }
