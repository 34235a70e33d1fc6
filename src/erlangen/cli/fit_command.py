"""`erlangen fit DATA --symmetry C8 --encoder group_cnn --out RUN`: learn a representation."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from erlangen._registry import Registry, encoders, objectives
from erlangen.cli.arguments import as_typed, plain, value_of
from erlangen.cli.output import note, print_json, print_line

LOADING = ("image_size", "pad", "skip_unreadable", "label_column")
HANDLED: set[str | int] = {"encoder", "data", "objective", "symmetry", "out", "views", "quiet"}


def build_parser(argv: list[str]) -> ArgumentParser:
    """The parser for one encoder and objective, whose arguments are `--encoder_args.*` and `--objective_args.*`."""
    from jsonargparse import ActionConfigFile

    from erlangen import data, train

    encoder = value_of(argv, "encoder") or "group_cnn"
    objective = value_of(argv, "objective") or "cross_entropy"
    parser = ArgumentParser(
        prog="erlangen fit",
        description="Learn a representation of DATA. The same command resumes an interrupted run.",
        exit_on_error=False,
        default_meta=False,
    )
    parser.add_argument("data", type=str, help="a data set's name, a folder of images, .npz, .parquet or .csv")
    parser.add_argument("--config", action=ActionConfigFile, help="a YAML file with any of these options")
    parser.add_argument("--symmetry", type=str, default="C8", help="the group that the representation respects")
    parser.add_argument("--encoder", type=str, default="group_cnn", help=f"one of {', '.join(encoders.names())}")
    parser.add_argument(
        "--objective", type=str, default="cross_entropy", help=f"one of {', '.join(objectives.names())}"
    )
    parser.add_argument("--out", type=str, required=True, help="the run's folder")
    parser.add_function_arguments(data.load, skip={"data", "seed"}, fail_untyped=False)
    parser.add_argument("--json", action="store_true", help="print the run's metrics as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    parser.add_function_arguments(train.fit, skip=HANDLED, fail_untyped=False)
    parser.add_class_arguments(encoders.get(encoder), "encoder_args", skip=_named_by_symmetry(encoders, encoder))
    parser.add_class_arguments(
        objectives.get(objective), "objective_args", skip=_named_by_symmetry(objectives, objective)
    )
    return parser


def _named_by_symmetry(registry: Registry, name: str) -> set[str | int]:
    """Arguments that `--symmetry` sets, so that they are not asked for twice."""
    return {"group"} if "group" in inspect.signature(registry.get(name)).parameters else set()


def _build(registry: Registry, name: str, symmetry: str, arguments: dict[str, Any] | None) -> Any:
    given = dict(arguments or {})
    if _named_by_symmetry(registry, name):
        given["group"] = symmetry
    return registry.build(name, **given)


def run(argv: list[str]) -> int:
    import torch

    from erlangen import data, groups, train

    argv = as_typed(argv, {"json", "quiet", "skip_unreadable"})
    options = plain(build_parser(argv).parse_args(argv))
    groups.parse(options["symmetry"])
    as_json, quiet = options.pop("json"), options.pop("quiet")
    symmetry, out = options.pop("symmetry"), options.pop("out")
    loading = {key: options.pop(key) for key in ("data", *LOADING)}
    dataset = data.load(**loading)
    if dataset.skipped:
        note(f"left out {len(dataset.skipped)} unreadable files: {', '.join(map(str, dataset.skipped[:5]))}", quiet)
    torch.manual_seed(options.get("seed", 0))
    name, pretext = options.pop("encoder"), options.pop("objective")
    encoder = _build(encoders, name, symmetry, options.pop("encoder_args", None))
    objective = _build(objectives, pretext, symmetry, options.pop("objective_args", None))
    fitted = train.fit(encoder, dataset, objective=objective, symmetry=symmetry, out=out, quiet=quiet, **options)
    if as_json:
        print_json({"run": str(Path(out)), "metrics": fitted.metrics, "complete": fitted.complete})
    else:
        measured = ", ".join(f"{k} {v:.4g}" for k, v in fitted.metrics.items() if isinstance(v, (int, float)))
        print_line(f"{name} on {dataset.name}: {measured}")
        print_line(f"the run is in {out}; look at it with: erlangen audit {out}")
    return 0
