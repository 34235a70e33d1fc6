"""`erlangen audit TARGET [DATA]`: look at a model, or at data alone, and write the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

from erlangen.cli.arguments import call, parser_for
from erlangen.cli.locate import locate_model
from erlangen.cli.output import note, print_json, print_line, refuse_unwritable

WEIGHTS = (".pt", ".pth", ".ckpt", ".safetensors", ".bin", ".ts")


class Target(NamedTuple):
    """What the first word of the command stands for: a run, a model, or (neither) data alone."""

    run: Any = None
    model: Any = None


def audit(
    target: str,
    data: str | None = None,
    *,
    preset: Literal["fast", "standard", "symmetry", "dataset", "theory", "science"] | None = None,
    probes: str | None = None,
    group: str | None = None,
    layers: str | None = None,
    weights: str | None = None,
    html: str | None = None,
    against: str | None = None,
    samples: int = 10_000,
    seconds: float = 300.0,
    ram: str = "1GiB",
    until_decided: bool = False,
    image_size: int | None = None,
    pad: int | None = None,
    skip_unreadable: bool = False,
    json: bool = False,
    quiet: bool = False,
    seed: int = 0,
) -> int:
    """Look at a model on a data set, or at a data set alone. Exit code 1 when a finding fails.

    Args:
        target: A run's folder, `pkg.module:factory`, `file.py:factory`, a TorchScript file, or a data set alone.
        data: A data set's name or path; left out, the run's own data.
        preset: Which probes; left out, standard for a model and dataset for data alone.
        probes: Names of probes, separated by commas, instead of a preset.
        group: The group whose elements act on the data; left out, the run's own symmetry.
        layers: Names or globs of layers, separated by commas; left out, one a block.
        weights: A file of weights (.safetensors, .pt, .ckpt) for the model that `pkg.module:factory` makes.
        html: Where the report goes; left out, `RUN/report.html` for a run, no file otherwise.
        against: An older report (.json or .html) to compare with; the exit code is then 1 when something became worse.
        samples: At most this many samples.
        seconds: Probes that have not started by then are left out.
        ram: What the statistics may hold, such as 500MiB.
        until_decided: Look at more and more samples and stop when every verdict is decided.
        image_size: Resize images to this many pixels; the run's own size by default.
        pad: Pixels of zeros added on every side; the run's own by default.
        skip_unreadable: Leave unreadable images out.
        json: Print the report as JSON instead of a table.
        quiet: Print the three sentences alone.
        seed: Of the samples, group elements and resampling.
    """
    from erlangen import audit as room
    from erlangen import data as data_room
    from erlangen.recipes.reproduce import write_atomically

    budget = room.Budget(samples=samples, seconds=seconds, ram=ram)
    older = room.Report.load(against) if against is not None else None
    found = _target(target, data, weights)
    alone = found.run is None and found.model is None
    if alone and preset not in (None, "dataset"):
        raise ValueError(f"--preset: {preset} needs a model, and {target} is data alone; name a run or a factory first")
    recorded = dict(found.run.config.get("data", {})) if found.run is not None else {}
    origin = dict(recorded.get("origin") or {})
    source = target if alone else data or origin.get("data")
    if source is None:
        raise ValueError(f"data: needed, as {target} does not know what it was fitted on; name a data set or a path")
    target_file = html or (str(Path(target) / "report.html") if found.run is not None and older is None else None)
    refuse_unwritable(target_file, "--html")
    asked = {"image_size": image_size, "pad": pad, "skip_unreadable": skip_unreadable or None}
    dataset = data_room.load(**{**origin, "data": source, **{k: v for k, v in asked.items() if v is not None}})
    fitted_on = tuple(recorded.get("sample_shape") or dataset.sample_shape)
    if len(fitted_on) != len(dataset.sample_shape) or fitted_on[0] != dataset.sample_shape[0]:
        raise ValueError(
            f"data: samples of shape {dataset.sample_shape}; {target} was fitted on samples of {fitted_on}"
        )
    note(f"auditing {'data alone: ' if alone else target + ' on '}{dataset.name}", quiet)
    symmetry = found.run.config.get("fit", {}).get("symmetry") if found.run is not None else None
    report = room.audit(
        found.run if found.run is not None else found.model,
        dataset,
        probes=preset if probes is None else _names(probes),
        layers=_names(layers) or "auto",
        group=group or symmetry,
        budget=budget,
        seed=seed,
        until="decided" if until_decided else None,
    )
    shown = report if older is None else report.compare(older)
    if target_file is not None:
        write_atomically(Path(target_file), shown.to_html())
        note(f"report: {target_file}", quiet)
    return show(shown, json=json, quiet=quiet)


def show(report: Any, *, json: bool, quiet: bool) -> int:
    """Print a report; 1 when a finding fails."""
    if json:
        print_json(report.to_dict())
    elif quiet:
        for sentence in report.sentences():
            print_line(sentence)
    else:
        print_line(str(report))
    return int(any(finding.verdict == "fail" for finding in report.findings))


def _names(text: str | None) -> list[str] | None:
    """Names separated by commas; None for none given."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    return names


def _target(target: str, data: str | None, weights: str | None) -> Target:
    path = Path(target)
    if weights is not None and (path.exists() or ":" not in target):
        raise ValueError(
            f"--weights: {target} is no factory; give pkg.module:factory or file.py:factory before the data"
        )
    if path.is_dir() and (data is not None or (path / "config.json").exists()):
        from erlangen import train

        return Target(run=train.load(target))
    if path.is_file() and path.suffix.lower() in WEIGHTS:
        return Target(model=_torchscript(path))
    from erlangen.data import names

    if data is None and (path.exists() or target in names()):
        return Target()
    model = locate_model(target, "target")
    return Target(model=model if weights is None else _with_weights(model, Path(weights)))


def _torchscript(path: Path) -> Any:
    """The model in a TorchScript file; weights alone are no model, and no other code is run."""
    import torch

    try:
        return torch.jit.load(str(path), map_location="cpu")
    except (RuntimeError, ValueError):
        raise ValueError(
            f"target: {path} is no TorchScript model; if it holds weights, name the code that makes the model and give "
            f"the file as --weights {path}"
        ) from None


def _with_weights(model: Any, path: Path) -> Any:
    """`model` with the weights in a file; no code in the file is run."""
    import pickle

    import torch

    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"--weights: the target makes a {type(model).__name__}; weights need a torch.nn.Module")
    if path.suffix.lower() == ".safetensors":
        from erlangen.train.files import read_tensors

        state: Any = read_tensors(path)
    else:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, AttributeError, KeyError) as error:
            words = " ".join(str(error).split())[:200]
            raise ValueError(f"--weights: {path} holds no plain weights ({type(error).__name__}: {words})") from None
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ValueError(f"--weights: {path} holds no names with tensors")
    try:
        model.load_state_dict(_stripped(state, model))
    except RuntimeError as error:
        words = " ".join(str(error).split())[:300]
        raise ValueError(f"--weights: {path} does not fit the model ({words})") from None
    return model


def _stripped(state: dict[str, Any], model: Any) -> dict[str, Any]:
    """The weights without a prefix (`module.`, `model.`) that all names have and the model's own have not."""
    own = set(model.state_dict())
    for prefix in ("module.", "model.", "encoder.", "backbone."):
        if all(name.startswith(prefix) for name in state) and not any(name.startswith(prefix) for name in own):
            return {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def run(argv: list[str]) -> int:
    return call(parser_for("audit", audit), audit, argv)
