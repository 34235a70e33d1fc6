"""`erlangen discover DATA --groups "C8, SO(2)"`: which symmetries do the data have, and how exactly?"""

from __future__ import annotations

from typing import Literal

from erlangen.cli.arguments import call, parser_for
from erlangen.cli.output import note, print_json, print_line, print_table


def discover(
    data: str,
    *,
    groups: str | None = None,
    task: Literal["auto", "classification", "regression", "inputs"] = "auto",
    input: str | None = None,
    output: str = "invariant",
    label_column: str | None = None,
    image_size: int | None = None,
    skip_unreadable: bool = False,
    samples: int = 2000,
    tolerance: float = 0.05,
    json: bool = False,
    quiet: bool = False,
    seed: int = 0,
) -> int:
    """Which symmetries do the data have, and how exactly? Says which encoder to fit.

    Args:
        data: A data set's name, a folder of images, .npz, .parquet or .csv.
        groups: Candidates, separated by commas, such as "C8, SO(2), Scaling"; left out, those that fit the data.
        task: What is predicted; told by the targets if left out, `inputs` looks at the inputs alone.
        input: How groups act on an input: image, points, vectors, or irreps such as 5x0e+5x1o; told by the shape.
        output: How groups act on regression targets; invariant unless given.
        label_column: The column of a table, or the array of an .npz file, with the targets.
        image_size: Resize images to this many pixels.
        skip_unreadable: Leave unreadable images out.
        samples: At most this many samples.
        tolerance: The share of a predictor's skill that may go in an exact symmetry.
        json: Print everything as JSON.
        quiet: Print group and verdict alone.
        seed: Of the halves, the elements and the twins.
    """
    from erlangen import audit
    from erlangen.audit.discovery_report import COLUMNS
    from erlangen.data import load

    note(f"looking for symmetries of {data}", quiet or json)
    folder = {"image_size": image_size, "skip_unreadable": skip_unreadable}
    source = load(data, label_column=label_column, **folder) if any(folder.values()) else data
    found = audit.discover(
        source,
        groups=[part.strip() for part in split_groups(groups)] if groups else None,
        task=task,
        input=input,
        output=output,
        label_column=label_column,
        samples=samples,
        tolerance=tolerance,
        seed=seed,
    )
    if json:
        print_json(found.to_dict())
    elif quiet:
        for reading in found.readings:
            print_line(f"{reading.group}: {reading.verdict}")
    else:
        first, *rest = found.summary()
        print_table(first, COLUMNS, found.rows())
        print_line()
        for line in rest:
            print_line(line)
    return 0


def split_groups(text: str) -> list[str]:
    """Names separated by commas, "C8, SO(2)"; a comma inside brackets separates nothing."""
    out, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            out.append("")
        else:
            out[-1] += letter
    if any(not part.strip() for part in out):
        raise ValueError(f'--groups: {text!r} has an empty name; write it as "C8, SO(2)"')
    return out


def run(argv: list[str]) -> int:
    return call(parser_for("discover", discover), discover, argv)
