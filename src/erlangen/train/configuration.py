"""What a run is made of, as JSON, and back."""

import json
import math
from typing import Any

import torch
from torch import Tensor, nn

from erlangen import __version__
from erlangen._registry import Registry
from erlangen.train.errors import RunDirectoryError
from erlangen.train.prepared import PreparedEncoder

FORMAT = "erlangen run"
FORMAT_VERSION = 1


def describe(component: Any, registry: Registry, *, strict: bool) -> dict[str, Any]:
    """`{"name", "arguments"}` of a registered object; what is not registered cannot be rebuilt from a file.

    With `strict` an unregistered class or an argument that is not JSON is a `ValueError` with the way out; without it
    the class's own name stands in.
    """
    kind = registry.kind.rstrip("s")
    cls = type(component)
    name = getattr(cls, "registered_name", None)
    if name is None or name not in registry or registry.get(name) is not cls:
        if strict:
            room = "nn" if kind == "encoder" else registry.kind
            raise ValueError(
                f"{kind}: {cls.__qualname__} is not registered, so a saved run could not rebuild it; "
                f"decorate the class with @erlangen.{room}.register('a_name'), or fit with out=None"
            )
        return {"name": f"{cls.__module__}.{cls.__qualname__}", "arguments": None}
    arguments = getattr(component, "init_arguments", {})
    try:
        return {"name": name, "arguments": json.loads(json.dumps(arguments, allow_nan=False))}
    except (TypeError, ValueError) as error:
        if strict:
            for argument, value in arguments.items():
                if isinstance(value, float) and not math.isfinite(value):
                    raise ValueError(f"{argument}: {value}; {name} takes finite numbers") from None
            raise ValueError(
                f"{kind}: {cls.__qualname__} was built with an argument that is not JSON ({error})"
            ) from None
        return {"name": name, "arguments": None}


def rebuild(description: dict[str, Any], registry: Registry) -> Any:
    """The inverse of `describe`; only registered names are ever built."""
    if not isinstance(description, dict) or not isinstance(description.get("arguments"), dict):
        raise ValueError(f"{registry.kind.rstrip('s')}: the description {description!r} names no arguments")
    return registry.build(str(description.get("name")), **description["arguments"])


def materialise(encoder: PreparedEncoder, objective: Any, sample: Tensor, num_classes: int | None) -> None:
    """One forward pass without gradients, so that lazy weights exist, and the objective's heads on top of it."""
    training = encoder.training
    encoder.eval()
    with torch.no_grad():
        embedding = encoder(sample)
    encoder.train(training)
    if embedding.ndim != 2:
        raise ValueError(f"encoder: must map a batch to [batch, embedding_dim], got shape {tuple(embedding.shape)}")
    objective.setup(embedding_dim=int(embedding.shape[1]), num_classes=num_classes)
    attach = getattr(objective, "attach", None)
    if attach is not None:
        attach(encoder, sample)


def document(**parts: Any) -> dict[str, Any]:
    """The content of `config.json`."""
    plain = json.loads(json.dumps(parts))
    return {"format": FORMAT, "format_version": FORMAT_VERSION, "erlangen": __version__, **plain}


def is_configuration(config: Any) -> bool:
    """Whether a file's content is the configuration of a run, of any version."""
    return isinstance(config, dict) and config.get("format") == FORMAT


def check_format(config: dict[str, Any], path: Any) -> None:
    """`ValueError` when `config` was not written by this format version."""
    if config.get("format") != FORMAT:
        raise ValueError(f"{path}: not the configuration of an erlangen run")
    if config.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path}: run format version {config.get('format_version')!r}, written by erlangen "
            f"{config.get('erlangen')!r}; this erlangen {__version__} reads version {FORMAT_VERSION}"
        )


def refuse_difference(old: dict[str, Any], new: dict[str, Any], directory: Any) -> None:
    """`RunDirectoryError` listing every key on which two configurations differ."""
    ignored = {"erlangen", "launch"}
    flat_old, flat_new = _flatten(old), _flatten(new)
    keys = sorted(k for k in flat_old.keys() | flat_new.keys() if flat_old.get(k) != flat_new.get(k))
    keys = [k for k in keys if k.split(".")[0] not in ignored]
    if keys:
        listed = ", ".join(f"{k} (there {_short(flat_old.get(k))}, here {_short(flat_new.get(k))})" for k in keys)
        raise RunDirectoryError(
            f"out: {str(directory)!r} holds a run with another configuration: {listed}; choose another directory"
        )


def count_parameters(module: nn.Module) -> int:
    """Trainable numbers of a module."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {k: v for name, item in value.items() for k, v in _flatten(item, f"{prefix}{name}.").items()}
    return {prefix.rstrip("."): value}
