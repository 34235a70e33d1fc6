"""`erlangen list`: what there is, by kind and room."""

from __future__ import annotations

from typing import Literal

from erlangen.cli.arguments import call, parser_for
from erlangen.cli.output import print_json, print_line, print_table


def list_registered(
    *,
    kind: Literal["all", "encoders", "modules", "objectives", "probes", "recipes", "data"] = "all",
    room: str | None = None,
    json: bool = False,
    quiet: bool = False,
    seed: int = 0,
) -> int:
    """Everything that can be asked for by name.

    Args:
        kind: Only one kind.
        room: Only what lives in one room, such as `images` or `objectives`.
        json: Print JSON instead of a table.
        quiet: Print the names alone.
        seed: Accepted everywhere; it changes nothing here.
    """
    rows = [row for row in _rows() if kind in ("all", row["kind"])]
    if room is not None:
        rooms = sorted({part for row in rows for part in row["room"].split(".")})
        rows = [row for row in rows if room in row["room"].split(".")]
        if not rows:
            raise ValueError(f"--room: nothing of kind {kind!r} lives in {room!r}; rooms here: {', '.join(rooms)}")
    if json:
        print_json(rows)
    elif quiet:
        for row in rows:
            print_line(row["name"])
    else:
        print_table("", ["kind", "name", "room", "what it is", "source"], [list(row.values()) for row in rows])
    return 0


def _rows() -> list[dict[str, str]]:
    from erlangen import data
    from erlangen._registry import REGISTRIES

    rows = [
        {"kind": kind, "name": e.name, "room": e.room, "summary": e.summary, "source": e.paper or ""}
        for kind, registry in REGISTRIES.items()
        for e in registry
    ]
    return rows + [
        {"kind": "data", "name": name, "room": "data", "summary": f"erlangen.data.load({name!r})", "source": ""}
        for name in data.names()
    ]


def run(argv: list[str]) -> int:
    return call(parser_for("list", list_registered), list_registered, argv)
