"""`erlangen report FILE [--against OLDER]`: read a report again, render it, compare it."""

from __future__ import annotations

from erlangen.cli.arguments import call, parser_for
from erlangen.cli.audit_command import show
from erlangen.cli.output import note, refuse_unwritable


def report(
    file: str,
    *,
    against: str | None = None,
    html: str | None = None,
    json: bool = False,
    quiet: bool = False,
    seed: int = 0,
) -> int:
    """Show a report that was written before, or what changed since an older one. Exit code 1 when a finding fails.

    Args:
        file: A report (.json or .html).
        against: An older report to compare with; a finding then fails when it became worse.
        html: Write it as one HTML page.
        json: Print it as JSON instead of a table.
        quiet: Print the three sentences alone.
        seed: Accepted everywhere; nothing is drawn here.
    """
    from pathlib import Path

    from erlangen.audit import Report
    from erlangen.recipes.reproduce import write_atomically

    refuse_unwritable(html, "--html")
    shown = Report.load(file)
    if against is not None:
        shown = shown.compare(Report.load(against))
    if html is not None:
        write_atomically(Path(html), shown.to_html())
        note(f"report: {html}", quiet)
    return show(shown, json=json, quiet=quiet)


def run(argv: list[str]) -> int:
    return call(parser_for("report", report), report, argv)
