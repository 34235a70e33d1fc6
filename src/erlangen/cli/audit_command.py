"""`erlangen audit RUN [DATA]`: look at a model and write the report."""

from __future__ import annotations

from typing import Any, Literal

from erlangen.cli.arguments import call, parser_for
from erlangen.cli.locate import is_run, locate_model
from erlangen.cli.output import note, print_json, print_line


def audit(
    target: str,
    data: str | None = None,
    *,
    preset: Literal["fast", "standard", "symmetry"] = "standard",
    probes: str | None = None,
    group: str | None = None,
    html: str | None = None,
    samples: int = 10_000,
    image_size: int | None = None,
    pad: int | None = None,
    json: bool = False,
    quiet: bool = False,
    seed: int = 0,
) -> int:
    """Look at a model on a data set. Exit code 1 when a finding fails.

    Args:
        target: A run's folder, `pkg.module:factory`, or `file.py:factory`.
        data: A data set's name or path; left out, the run's own data.
        preset: Which probes.
        probes: Names of probes, separated by commas, instead of a preset.
        group: The group whose elements act on the data; left out, the run's own symmetry.
        html: Where the report goes; left out, `RUN/report.html` for a run, no file otherwise.
        samples: At most this many samples.
        image_size: Resize images to this many pixels; the run's own size by default.
        pad: Pixels of zeros added on every side; the run's own by default.
        json: Print the report as JSON instead of a table.
        quiet: Print the three sentences alone.
        seed: Of the samples, group elements and resampling.
    """
    from pathlib import Path

    from erlangen import audit as room
    from erlangen import data as data_room
    from erlangen.recipes.reproduce import write_atomically

    model, classifier, recorded = _model(target)
    origin = dict(recorded.get("origin") or {})
    source = data or origin.get("data")
    if source is None:
        raise ValueError(f"data: needed, as {target} does not know what it was fitted on; name a data set or a path")
    asked = {"image_size": image_size, "pad": pad}
    dataset = data_room.load(**{**origin, "data": source, **{k: v for k, v in asked.items() if v is not None}})
    note(f"auditing {target} on {dataset.name}", quiet)
    report = room.audit(
        model,
        dataset,
        probes=[p.strip() for p in probes.split(",")] if probes else preset,
        group=group or recorded.get("symmetry"),
        budget=room.Budget(samples=samples),
        seed=seed,
        classifier=classifier,
    )
    target_file = html or (str(Path(target) / "report.html") if is_run(target) else None)
    if target_file is not None:
        write_atomically(Path(target_file), report.to_html())
        note(f"report: {target_file}", quiet)
    if json:
        print_json(report.to_dict())
    elif quiet:
        for sentence in report.sentences():
            print_line(sentence)
    else:
        print_line(str(report))
    return int(any(finding.verdict == "fail" for finding in report.findings))


def _model(target: str) -> tuple[Any, Any, dict[str, Any]]:
    if is_run(target):
        from erlangen import train

        fitted = train.load(target)
        return (
            fitted.encoder,
            fitted.classifier,
            {**fitted.config.get("data", {}), "symmetry": fitted.config.get("fit", {}).get("symmetry")},
        )
    return locate_model(target, "target"), None, {}


def run(argv: list[str]) -> int:
    return call(parser_for("audit", audit), audit, argv)
