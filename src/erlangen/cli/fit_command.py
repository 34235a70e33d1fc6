"""`erlangen fit DATA --symmetry C8 --encoder group_cnn --out RUN`: learn a representation."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentParser

from erlangen._registry import Registry, encoders, objectives
from erlangen.cli.arguments import add_options, as_typed, make_parser, parse, read_config, value_of
from erlangen.cli.output import print_json, print_line, print_table

DEFAULT_GROUP = "C8"
LOADING = ("image_size", "pad", "skip_unreadable", "label_column")
HANDLED = ("encoder", "data", "objective", "symmetry", "out", "views", "quiet")
WORDS = {
    "weight_decay": "the optimizer's decay of the weights.",
    "optimizer": "adamw, adam, sgd or lars.",
    "schedule": "of the learning rate: cosine, linear or constant.",
    "seed": "of the initial weights, the split, the batches and the views.",
    "devices": "processes or accelerators on each machine; -1 for all.",
    "nodes": "machines.",
    "strategy": "how several processes share the work, such as ddp or fsdp.",
    "precision": "such as 32-true, bf16-mixed or 64-true.",
}
ARGUMENT_WORDS = {
    "width": "channels of the first stage, or units of a hidden layer.",
    "in_channels": "channels of the images; left out, read from the data.",
    "in_features": "components of the vectors; left out, read from the data.",
    "embedding_dim": "components of the embedding.",
    "stages": "convolutional stages; each but the first halves the image.",
    "kernel_size": "side of the filters in pixels.",
    "match": "whether channels are chosen for the operations or for the parameters of a plain encoder.",
    "depth": "hidden layers.",
}
TAUGHT: dict[str, Any] = {"teachers": "+", "guide": None, "old": None}
TAUGHT_WORDS = {
    "teachers": "folders of finished runs whose encoders are followed.",
    "guide": "folder of a finished run whose encoder is followed; an untrained network if left out.",
    "old": "folder of the finished run to stay compatible with, or start for the encoder as it begins.",
}


def build_parser(argv: list[str]) -> ArgumentParser:
    """The parser for one encoder and objective, whose arguments are `--encoder_args.*` and `--objective_args.*`."""
    from erlangen import data, train

    content = read_config(argv)
    encoder = value_of(argv, "encoder", content) or "group_cnn"
    objective = value_of(argv, "objective", content) or "cross_entropy"
    _known(encoders, "--encoder", encoder)
    _known(objectives, "--objective", objective)
    parser = make_parser("fit", "Learn a representation of DATA. The same command resumes an interrupted run.")
    parser.add_argument(
        "data", type=str | None, nargs="?", help="a data set's name, a folder of images, .npz, .parquet or .csv"
    )
    parser.add_argument("--config", action=ActionConfigFile, help="a YAML file with any of these options")
    parser.add_argument(
        "--symmetry", type=str | None, help="the group that the representation respects; C8 for images if left out"
    )
    parser.add_argument("--encoder", type=str, default="group_cnn", help=f"one of {', '.join(encoders.names())}")
    parser.add_argument(
        "--objective", type=str, default="cross_entropy", help=f"one of {', '.join(objectives.names())}"
    )
    parser.add_argument("--out", type=str | None, help="the run's folder (needed)")
    add_options(parser, data.load, skip=("data", "seed"))
    parser.add_argument("--json", action="store_true", help="print the run's metrics as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    add_options(parser, train.fit, skip=HANDLED, words=WORDS)
    for registry, name, prefix in ((encoders, encoder, "encoder_args."), (objectives, objective, "objective_args.")):
        group = parser.add_argument_group(f"arguments of {name}")
        taught = [argument for argument in TAUGHT if argument in inspect.signature(registry.get(name)).parameters]
        for argument in taught:
            group.add_argument(
                f"--{prefix}{argument}", type=str | None, nargs=TAUGHT[argument], help=TAUGHT_WORDS[argument]
            )
        add_options(
            group,
            registry.get(name),
            skip=(*_named_by_symmetry(registry, name), *taught),
            prefix=prefix,
            fallback=ARGUMENT_WORDS,
            options_only=True,
        )
    return parser


def run(argv: list[str]) -> int:
    import torch

    from erlangen import data, groups, train
    from erlangen.train.launch import process_rank

    argv = as_typed(argv)
    options = parse(build_parser(argv), argv)
    source, out = options.pop("data"), options.pop("out")
    source = read_config(argv).get("data") if source is None else source  # a positional hides the file's value
    if source is None:
        raise ValueError(f"data: needed; name a data set ({', '.join(data.names())}), a folder or a file")
    if out is None:
        raise ValueError("--out: needed; name the folder for the run, such as --out runs/mine")
    if options["symmetry"] is not None:
        groups.parse(options["symmetry"])
    as_json, quiet = options.pop("json"), options.pop("quiet") or process_rank() != 0
    _refuse_launch(**{name: options[name] for name in ("devices", "strategy", "precision")})
    dataset = data.load(source, seed=options["seed"], **{key: options.pop(key) for key in LOADING})
    name, pretext = options.pop("encoder"), options.pop("objective")
    named = options.pop("symmetry")
    symmetry = _symmetry(named, dataset, name)
    encoder_arguments, objective_arguments = options.pop("encoder_args", {}), options.pop("objective_args", {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options["seed"])
        encoder = _build(encoders, name, symmetry, encoder_arguments)
        objective = _build(objectives, pretext, symmetry, objective_arguments)
    views = "suited" if named is None else None  # a symmetry that was named is one to be invariant to
    fitted = train.fit(
        encoder, dataset, objective=objective, views=views, symmetry=symmetry, out=out, quiet=quiet, **options
    )
    if process_rank() != 0:
        return 0
    if as_json:
        outcome = {"metrics": fitted.metrics, "collapse": fitted.collapse, "complete": fitted.complete}
        print_json({"run": str(Path(out)), **outcome})
    else:
        print_table(f"{name} on {dataset.name}", ("", "train", "val", "test", "healthy"), _terms(fitted))
        if fitted.collapse:
            print_line(f"WARNING: {fitted.collapse}")
        print_line(f"the run is in {out}; look at it with: erlangen audit {out}")
    return 0


def _terms(fitted: Any) -> list[tuple[str, ...]]:
    """One row for each term, metric and monitor: what it was on each part of the data, and what it should look like."""
    from erlangen.objectives.collapse import HEALTHY

    words = {**HEALTHY, **getattr(fitted.objective, "healthy", {})}
    parts = ("train", "val", "test")
    rows: dict[str, dict[str, float]] = {}
    for key, value in fitted.metrics.items():
        part, _, name = key.partition("/")
        if name and isinstance(value, int | float):
            rows.setdefault(name, {})["train" if part == "monitor" else part] = value
    numbers = {name: [f"{row[p]:.4g}" if p in row else "" for p in parts] for name, row in rows.items()}
    known = {name: words.get(name, words.get(name.split("@")[0], "")) for name in numbers}  # x@8 is x of a prefix
    return [(name, *cells, known[name]) for name, cells in numbers.items()]


def _refuse_launch(*, devices: int | str, strategy: str, precision: str) -> None:
    """Refuse what Lightning's trainer would refuse, before a run folder exists."""
    from typing import get_args

    from erlangen._registry import unknown_name

    if isinstance(devices, str) and devices != "auto" and not all(d.strip().isdigit() for d in devices.split(",")):
        raise ValueError(f"--devices: {devices!r}; give a number, -1 for all, numbers such as 0,1, or auto")
    if precision != "32-true":
        from lightning.fabric.connector import _PRECISION_INPUT_STR

        if precision not in get_args(_PRECISION_INPUT_STR):
            raise unknown_name("--precision", precision, list(get_args(_PRECISION_INPUT_STR)))
    if strategy != "auto":
        from lightning.pytorch.strategies import StrategyRegistry

        if strategy not in StrategyRegistry:
            raise unknown_name("--strategy", strategy, ["auto", *StrategyRegistry])


def _known(registry: Registry, option: str, name: str) -> None:
    from erlangen._registry import unknown_name

    if name not in registry:
        raise unknown_name(option, name, registry.names())


def _symmetry(given: str | None, dataset: Any, encoder: str) -> str | None:
    """The group that acts on these data: refused before anything is written where it does not, or the encoder cannot."""
    from erlangen.groups import actions, parse

    if dataset.kind != "image":
        if encoders.entry(encoder).tags.get("domain") == "images":
            fitting = [e.name for e in encoders if e.tags.get("domain") != "images"]
            raise ValueError(
                f"--encoder: {encoder!r} reads images and {dataset.name!r} holds vectors; try {' or '.join(fitting)}"
            )
        return given
    actions.from_type("image", parse(given or DEFAULT_GROUP))
    return given or DEFAULT_GROUP


def _named_by_symmetry(registry: Registry, name: str) -> tuple[str, ...]:
    """The argument that `--symmetry` sets, so that it is not asked for twice."""
    return ("group",) if "group" in inspect.signature(registry.get(name)).parameters else ()


def _build(registry: Registry, name: str, symmetry: str | None, arguments: dict[str, Any] | None) -> Any:
    given = {key: value for key, value in (arguments or {}).items() if not (key in TAUGHT and value is None)}
    for key in set(given) & set(TAUGHT):
        given[key] = given[key] if given[key] == "start" else _encoders_of(given[key])
    if symmetry is not None and _named_by_symmetry(registry, name):
        given["group"] = symmetry
    return registry.build(name, **given)


def _encoders_of(runs: str | list[str]) -> Any:
    """The fitted encoder of a run's folder, or those of several."""
    from erlangen import train

    return train.load(runs).encoder if isinstance(runs, str) else [train.load(run).encoder for run in runs]
