"""The result of an audit: findings, a header that says what was looked at, and the panels of the report."""

import base64
import dataclasses
import importlib
import json
from pathlib import Path
from typing import Any

from erlangen.audit.finding import Cost, FigureSpec, Finding, to_plain
from erlangen.audit.words import three_sentences

ORDER = ("fail", "warn", "inconclusive", "pass", "info", "not_applicable")
SCHEMA = "erlangen.report/1"


class AuditFailed(AssertionError):
    """Raised by `Report.assert_ok`; `findings` holds what failed."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        super().__init__("\n".join(f"{f.verdict}: {f.key}: {f.meaning or f.rule}" for f in findings))


class Report:
    """Findings of one audit.

    `report["rankme"]` is the first finding of a probe, `report["rankme", "conv1"]` that of a layer; a metric's dotted
    key works as well as a probe's name. `header` holds model, parameters, data, n_used, n_available, seed, versions,
    seconds, peak_bytes, command, group, classes and merged_classes; `panels` the figures that span several findings.
    """

    def __init__(
        self,
        findings: list[Finding],
        header: dict[str, Any] | None = None,
        panels: dict[str, FigureSpec] | None = None,
    ) -> None:
        self.findings = list(findings)
        self.header: dict[str, Any] = dict(header or {})
        self.panels: dict[str, FigureSpec] = dict(panels or {})

    def select(self, name: str, layer: str | None = None) -> list[Finding]:
        """All findings of a probe or metric, in order."""
        return [
            f
            for f in self.findings
            if (name in (f.probe, f.metric) or f.metric.startswith(name.replace("/", ".") + "."))
            and (layer is None or f.layer == layer)
        ]

    def __getitem__(self, key: str | tuple[str, str]) -> Finding:
        name, layer = (key, None) if isinstance(key, str) else key
        found = self.select(name, layer)
        if not found:
            known = sorted({f.key for f in self.findings})
            raise KeyError(f"no finding {key!r}; this report has {', '.join(known)}")
        return found[0]

    def __len__(self) -> int:
        return len(self.findings)

    def sorted(self) -> list[Finding]:
        """Fails first, then warnings, then what is inconclusive."""
        return sorted(self.findings, key=lambda f: ORDER.index(f.verdict))

    def sentences(self) -> list[str]:
        """Three sentences on what was found, made from the findings by rule."""
        return three_sentences(self.findings, self.header)

    def assert_ok(self, *, allow_inconclusive: bool = True) -> None:
        """Raise `AuditFailed` if a finding failed (or, on request, could not be decided)."""
        bad = ("fail",) if allow_inconclusive else ("fail", "inconclusive")
        failed = [f for f in self.findings if f.verdict in bad]
        if failed:
            raise AuditFailed(failed)

    def compare(self, older: "Report") -> "Report":
        """Differences to an older report, metric by metric: paired where both saw the same samples."""
        from erlangen.audit.compare import compare_reports

        return compare_reports(self, older)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "header": to_plain(self.header),
            "findings": [f.to_dict() for f in self.findings],
            "panels": {name: panel.to_dict() for name, panel in self.panels.items()},
            "sentences": self.sentences(),
        }

    @classmethod
    def from_dict(cls, record: Any) -> "Report":
        if not isinstance(record, dict) or record.get("schema") != SCHEMA:
            given = record.get("schema") if isinstance(record, dict) else type(record).__name__
            raise ValueError(f"record: schema {given!r} is not {SCHEMA!r}; write it with Report.to_json")
        try:
            findings = [Finding.from_dict(f) for f in record["findings"]]
            panels = {name: FigureSpec.from_dict(panel) for name, panel in record["panels"].items()}
            unknown = [f.verdict for f in findings if f.verdict not in ORDER]
            if unknown:
                raise ValueError(f"unknown verdict {unknown[0]!r}")
            return cls(findings, dict(record["header"]), panels)
        except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
            words = " ".join(str(error).split())[:200]
            raise ValueError(f"record: not the findings of a report ({type(error).__name__}: {words})") from None

    def to_json(self, path: str | Path | None = None, *, indent: int | None = None) -> str:
        """The report as JSON text, also written to `path` if given."""
        text = json.dumps(self.to_dict(), indent=indent, allow_nan=False)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    @classmethod
    def from_json(cls, text: str | Path) -> "Report":
        """Read JSON text, or the file at a `Path`."""
        if isinstance(text, Path):
            text = text.read_text(encoding="utf-8")
        return cls.from_dict(json.loads(text))

    @classmethod
    def load(cls, path: str | Path) -> "Report":
        """The report in a file, written by `to_json` or by `to_html`; ValueError names what is wrong with it."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{path}: holds no report: it is no text") from None
        try:
            if text.lstrip()[:1] == "<":
                return cls.from_html(path)
            return cls.from_json(text)
        except (ValueError, RecursionError) as error:
            words = " ".join(str(error).split())[:300] or type(error).__name__
            raise ValueError(f"{path}: holds no report that can be read ({words})") from None

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dictionary a finding."""
        return [
            {
                "probe": f.probe,
                "metric": f.metric,
                "layer": f.layer,
                "group": f.group,
                "value": f.value,
                "low": f.ci.low if f.ci else None,
                "high": f.ci.high if f.ci else None,
                "reference": f.reference.value if f.reference else None,
                "reference_kind": f.reference.kind if f.reference else None,
                "verdict": f.verdict,
                "needs_samples": f.needs_samples,
                "meaning": f.meaning,
                "seconds": f.cost.seconds,
            }
            for f in self.findings
        ]

    def to_frame(self) -> Any:
        """A pandas `DataFrame`, one row a finding (needs pandas; `to_records` does not)."""
        try:
            pandas = importlib.import_module("pandas")
        except ImportError as error:
            raise ImportError("to_frame needs pandas (pip install pandas); to_records gives the same rows") from error
        return pandas.DataFrame(self.to_records())

    def to_markdown(self) -> str:
        """The three sentences and the verdict table."""
        lines = [*(f"- {s}" for s in self.sentences()), "", "| verdict | finding | value | interval | reference |"]
        lines.append("|---|---|---|---|---|")
        for f in self.sorted():
            interval = f"[{f.ci.low:.3g}, {f.ci.high:.3g}]" if f.ci else ""
            reference = f"{f.reference.value:.3g} ({f.reference.kind})" if f.reference else ""
            lines.append(f"| {f.verdict} | {f.key} | {f.value:.3g} | {interval} | {reference} |")
        return "\n".join(lines)

    def to_html(self, path: str | Path | None = None, **options: Any) -> str:
        """The one-file HTML report, also written to `path` if given."""
        text = importlib.import_module("erlangen.report").render_html(self, **options)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    @classmethod
    def from_html(cls, path: str | Path) -> "Report":
        """The report inside a file that `to_html` wrote."""
        record = importlib.import_module("erlangen.report").read_html(Path(path))
        return cls.from_dict(record.get("report", record))

    def _repr_html_(self) -> str:
        page = base64.b64encode(self.to_html().encode()).decode()
        return f'<iframe src="data:text/html;base64,{page}" style="width:100%;height:800px;border:0"></iframe>'

    def __str__(self) -> str:
        return importlib.import_module("erlangen.report").terminal_table(self)

    def __repr__(self) -> str:
        counts = {v: sum(f.verdict == v for f in self.findings) for v in ORDER}
        return f"Report({', '.join(f'{n} {v}' for v, n in counts.items() if n)})"

    def without_costs(self) -> "Report":
        """The report without what differs from run to run, time and memory: same inputs and seed, same bytes."""
        header = {k: v for k, v in self.header.items() if k not in ("seconds", "peak_bytes")}
        return Report(
            [dataclasses.replace(f, cost=Cost(samples=f.cost.samples)) for f in self.findings], header, self.panels
        )

    def with_findings(self, findings: list[Finding]) -> "Report":
        return Report([dataclasses.replace(f) for f in findings], self.header, self.panels)
