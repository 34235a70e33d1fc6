"""How a run was trained: each term of the loss over the epochs, and what the collapse monitors said."""

import math
from typing import Any

from erlangen.audit.finding import FigureSpec, Finding

MOST_EPOCHS = 400


def training_record(run: Any) -> dict[str, Any]:
    """Terms, monitors and collapses of a fitted run, as JSON-able values.

    `terms` and `monitors` are lists of `{"name", "train", "val", "healthy"}` (monitors: `"value"`), one number an epoch
    of `epochs`; `healthy` says in words what the values should look like; `collapse` lists `{"epoch", "words"}`.
    """
    from erlangen.objectives.collapse import HEALTHY

    history = [row for row in run.history if isinstance(row, dict)]
    step = max(1, math.ceil(len(history) / MOST_EPOCHS))
    kept = [row for i, row in enumerate(history) if i % step == 0 or i == len(history) - 1]
    healthy = dict(getattr(run.objective, "healthy", None) or {})
    names = list(dict.fromkeys(k.split("/", 1)[1] for row in kept for k in row if k.startswith(("train/", "val/"))))
    seen = list(dict.fromkeys(k.split("/", 1)[1] for row in kept for k in row if k.startswith("monitor/")))
    names = [name for name in names if name not in seen]
    return {
        "objective": type(run.objective).__name__,
        "complete": bool(run.complete),
        "epochs": [int(row.get("epoch", i)) + 1 for i, row in enumerate(kept)],
        "terms": [
            {
                "name": name,
                "train": _values(kept, f"train/{name}"),
                "val": _values(kept, f"val/{name}"),
                "healthy": healthy.get(name, _metric_words(name, healthy)),
            }
            for name in names
        ],
        "monitors": [
            {"name": name, "value": _values(kept, f"monitor/{name}"), "healthy": HEALTHY.get(name, "")} for name in seen
        ],
        "collapse": [
            {"epoch": int(row.get("epoch", i)) + 1, "words": str(row["collapse"])}
            for i, row in enumerate(history)
            if row.get("collapse")
        ],
    }


def _values(rows: list[dict[str, Any]], key: str) -> list[float | None]:
    found = [row.get(key) for row in rows]
    kept = [float(v) if isinstance(v, (int, float)) and math.isfinite(v) else None for v in found]
    return kept if any(v is not None for v in kept) else []


def _metric_words(name: str, healthy: dict[str, str]) -> str:
    return f"falls; the weighted sum of {', '.join(healthy)}" if name == "loss" and healthy else ""


def training_findings(record: dict[str, Any]) -> list[Finding]:
    """One finding: whether the embedding had collapsed in training, by the monitors that looked after every epoch."""
    if not record["epochs"]:
        return []
    last, ever = record["epochs"][-1], record["collapse"]
    if not record["monitors"] and not ever:
        return []
    at_end = bool(ever) and ever[-1]["epoch"] == last
    if at_end:
        meaning = f"At the end of training: {ever[-1]['words']}."
    elif ever:
        meaning = f"In {len(ever)} of {last} epochs the monitors saw a collapse, not in the last: {ever[-1]['words']}."
    else:
        meaning = f"The monitors looked after each of {last} epochs and saw no collapse."
    monitors = {m["name"]: m["value"] for m in record["monitors"]}
    rank = monitors.get("effective_rank") or []
    figure = FigureSpec(
        "curve",
        "Effective rank of the embedding while training",
        "epoch",
        "dimensions",
        [{"name": "effective rank", "x": record["epochs"], "y": [math.nan if v is None else v for v in rank]}],
        [{"name": "below this it is a line", "value": 1.5}],
    )
    return [
        Finding(
            "training",
            "training.collapsed_epochs",
            float(len(ever)),
            verdict="fail" if at_end else "warn" if ever else "pass",
            meaning=meaning,
            rule="fail if the monitors name a collapse in the last epoch, warn if in an earlier one",
            direction="lower",
            figure=figure if rank else None,
            assumptions=("the monitors look at up to 256 training samples after every epoch",),
            details={"epochs": last, "at_end": at_end},
        )
    ]
