"""One uniform record of what a probe measured: value, interval, reference, verdict, figure and cost."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Verdict = Literal["pass", "warn", "fail", "info", "inconclusive", "not_applicable"]
Direction = Literal["higher", "lower", "closer", "none"]
VERDICTS: tuple[str, ...] = get_args(Verdict)
TWIN_WORDS = {"untrained": "untrained twin", "baseline": "reference model"}


@dataclass(frozen=True)
class Interval:
    """A confidence interval: its two ends, its level, how it was made and from how many independent samples."""

    low: float
    high: float
    level: float = 0.95
    method: str = "none (deterministic)"
    n_effective: int = 0

    @property
    def width(self) -> float:
        return self.high - self.low


@dataclass(frozen=True)
class Reference:
    """The number that gives a measured value its meaning.

    `kind` is one of theory, null, untrained, floor, baseline, published, previous; `source` says in words where it
    comes from.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    kind: Literal["theory", "null", "untrained", "floor", "baseline", "published", "previous"] = "theory"
    source: str = ""


@dataclass(frozen=True)
class Cost:
    """What a finding took: wall seconds, peak bytes of its state, samples seen, passes over the data."""

    seconds: float = 0.0
    peak_bytes: int = 0
    samples: int = 0
    passes: int = 1


@dataclass(frozen=True)
class FigureSpec:
    """A figure as data (at most 2,000 numbers a series), drawn by the report.

    - `curve`, `bars`: `series` is a list of `{"name", "x", "y"}`, optionally with `"low"`, `"high"`;
      `lines` is a list of `{"name", "value"}`, drawn as horizontal references.
    - `matrix`: `rows`, `columns` (labels), `values` (rows of floats, NaN for no cell), `vmin`, `vmax`.
    - `images`: `images` is a list of `{"before", "after", "caption"}`; the images are nested lists of 0..255,
      `[H][W]` for grey or `[H][W][3]` for colour; `after` may be None.
    """

    kind: Literal["curve", "bars", "matrix", "images"]
    title: str
    x_label: str = ""
    y_label: str = ""
    series: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)
    vmin: float | None = None
    vmax: float | None = None
    images: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return to_plain(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "FigureSpec":
        record = dict(record)
        record["values"] = [[_float(v) for v in row] for row in record.get("values", [])]
        record["series"] = [
            {k: [_float(v) for v in s[k]] if k in ("y", "low", "high") else s[k] for k in s}
            for s in record.get("series", [])
        ]
        return cls(**record)


@dataclass(frozen=True)
class Finding:
    """One measured number with everything needed to believe it.

    `metric` is a stable dotted key (`equivariance.rotation.relative_error`); `meaning` is one sentence in plain
    words; `rule` is the rule that gave the verdict; `threshold` the number in it; `p_value` the probability of an
    interval this far from the threshold if the truth lay on the other side (for the Holm correction over a report);
    `needs_samples` the estimate of what would decide an inconclusive one; `details` small named arrays.
    """

    probe: str
    metric: str
    value: float
    layer: str = ""
    group: str = ""
    ci: Interval | None = None
    reference: Reference | None = None
    verdict: Verdict = "info"
    meaning: str = ""
    rule: str = ""
    direction: Direction = "none"
    threshold: float | None = None
    p_value: float | None = None
    needs_samples: int | None = None
    figure: FigureSpec | None = None
    cost: Cost = Cost()
    assumptions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    citation: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """`metric[@layer]`: unique within a report."""
        return f"{self.metric}@{self.layer}" if self.layer else self.metric

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON-able values; NaN and infinities become null."""
        record = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for name in ("ci", "reference", "cost"):
            record[name] = dataclasses.asdict(record[name]) if record[name] is not None else None
        record["figure"] = self.figure.to_dict() if self.figure is not None else None
        return to_plain(record)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Finding":
        record = dict(record)
        record["value"] = _float(record["value"])
        if record.get("ci") is not None:
            ci = dict(record["ci"])
            record["ci"] = Interval(**{**ci, "low": _float(ci["low"]), "high": _float(ci["high"])})
        if record.get("reference") is not None:
            ref = dict(record["reference"])
            record["reference"] = Reference(**{**ref, **{k: _float(ref[k]) for k in ("value", "low", "high")}})
        if record.get("figure") is not None:
            record["figure"] = FigureSpec.from_dict(record["figure"])
        record["cost"] = Cost(**record.get("cost") or {})
        record["assumptions"] = tuple(record.get("assumptions", ()))
        record["warnings"] = tuple(record.get("warnings", ()))
        return cls(**record)


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def to_plain(value: Any) -> Any:
    """`value` in JSON's own types: tuples become lists, NaN and infinities null, tensors nested lists."""
    if isinstance(value, dict):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(v) for v in value]
    if isinstance(value, bool) or value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return to_plain(value.tolist())
    raise TypeError(f"value: {type(value).__name__} cannot be written to JSON; use numbers, strings, lists and dicts")
