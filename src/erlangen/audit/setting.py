"""What every probe may use, made from what the user gave."""

import logging
from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from erlangen.audit.budget import Budget
from erlangen.audit.collect import WIDEST, in_its_precision, regular_orders, run_model
from erlangen.audit.inputs import Source
from erlangen.audit.orbit import Orbit, build_orbit
from erlangen.audit.probe import Context
from erlangen.audit.shards import largest, together
from erlangen.audit.wrap import FunctionModel
from erlangen.nn.tap import Tap, resolve_layers, untrained_twin

_log = logging.getLogger(__name__)


def make_context(
    network: nn.Module | None,
    source: Source,
    *,
    layers: Any,
    group: Any,
    reference: Any,
    training: tuple[Tensor, Tensor] | None,
    budget: Budget,
    level: float,
    seed: int,
    device: Any,
    classifier: Callable[[Tensor], Tensor | None] | None,
) -> Context:
    """The context; the first batch is looked at for its sizes and put back, two samples of it go through the model."""
    batches = iter(source.batches)
    first = together(lambda: next(batches, None))
    if first is None:
        raise ValueError("data: no samples")
    source.batches = chain([first], batches)
    x = first[0]
    names: list[str] = []
    pools: dict[str, int] = {}
    sizes: dict[str, int] = {}
    sketched: dict[str, int] = {}
    twin, twin_name = None, ""
    if network is not None:
        with torch.inference_mode():  # materialises lazy layers before names are resolved
            network(in_its_precision(network, x[:2].to(device)))
        names = resolve_layers(network, layers) if layers else []
        if isinstance(reference, nn.Module):
            names = _in_both(names, reference, chosen=layers != "auto")
        pools = regular_orders(network, names)
        sizes = {name: value.shape[1] for name, value in run_model(network, x[:2].to(device), names, pools).items()}
        sketched = _too_wide(network, x[:2].to(device), [n for n in names if sizes.get(n) == WIDEST])
        twin, twin_name = _twin(network, reference, seed)
    return Context(
        network=network,
        twin=twin,
        twin_name=twin_name,
        layers=names,
        pools=pools,
        orbit=_orbit(network, group, x, seed),
        classifier=classifier,
        num_classes=largest(max(int(first[1].max()) + 1, len(source.class_names))),
        class_names=source.class_names,
        level=level,
        seed=seed,
        budget=budget,
        device=device,
        rows=min(budget.samples, source.available or budget.samples),
        dimensions=sizes,
        input_shape=tuple(x.shape[1:]),
        training=training,
        twin_kind="baseline" if isinstance(reference, nn.Module) else "untrained",
        sketched=sketched,
    )


def _in_both(names: list[str], reference: nn.Module, *, chosen: bool) -> list[str]:
    """The layers that a reference model has as well; ValueError where one was asked for that it lacks."""
    known = {name for name, _ in reference.named_modules()}
    missing = [name for name in names if name not in known]
    if missing and chosen:
        raise ValueError(
            f"layers, reference: the reference model has no {', '.join(missing)}; name layers that both have"
        )
    if missing:
        _log.warning("reference: has no layer %s; they are left out", ", ".join(missing))
    return [name for name in names if name in known]


def _too_wide(network: nn.Module, x: Tensor, names: list[str]) -> dict[str, int]:
    """The layers that were sketched, with their true width."""
    if not names:
        return {}
    with torch.inference_mode(), Tap(network, names) as tap:
        network(in_its_precision(network, x))
    widths = {name: value.flatten(1).shape[1] for name, value in tap.activations.items()}
    return {name: width for name, width in widths.items() if width > WIDEST}


def _twin(network: nn.Module, reference: Any, seed: int) -> tuple[nn.Module | None, str]:
    if isinstance(reference, nn.Module):
        return reference, "the reference model"
    if reference == "untrained":
        if isinstance(network, FunctionModel) and not network.can_be_reset:
            return None, ""
        try:
            return untrained_twin(network, seed=seed).eval(), "the same architecture with fresh weights"
        except Exception as error:  # a module that cannot be copied or reset is audited without one
            _log.warning("reference: no untrained twin of %s (%s)", type(network).__name__, error)
            return None, ""
    if reference is None:
        return None, ""
    raise ValueError(f"reference: {reference!r}; allowed are 'untrained', a model, an older Report or None")


def _orbit(network: nn.Module | None, group: Any, x: Tensor, seed: int) -> Orbit | None:
    if group is None:
        declared = list(getattr(network, "symmetries", None) or [])
        inner = getattr(network, "model", None)
        if not declared and isinstance(inner, nn.Module):
            declared = list(getattr(inner, "symmetries", None) or [])
        if not declared:
            return None
        group = declared[0].group
    return build_orbit(group, x, seed=seed)


def shared_bytes(ctx: Context, *, twin_rows: int) -> int:
    """An upper bound of what rows and inputs take, before they are collected."""
    inputs = min(ctx.rows, ctx.budget.orbit_samples)
    row = 4 * sum(ctx.dimensions.values())
    sets = 1 + 3 * len(ctx.orbit) if ctx.orbit is not None else 1
    # a reservoir copies its rows when it absorbs a batch, hence the factor of two
    rows = 2 * ctx.rows * (row + 24) + 2 * min(ctx.rows, twin_rows) * (row + 16)
    return rows + inputs * (8 * torch.Size(ctx.input_shape).numel() + sets * row)


def raw_bytes(ctx: Context) -> int:
    """What the flattened inputs of all rows take."""
    return 2 * 4 * ctx.rows * torch.Size(ctx.input_shape).numel()
