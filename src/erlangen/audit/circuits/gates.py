"""Gates on the channels of named layers, set from outside and gone when the block ends."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from erlangen.audit.collect import as_embedding
from erlangen.audit.preserve import left_as_it_was
from erlangen.nn.tap import resolve_layers


def channel_axis(output: Tensor) -> int:
    """The axis of the units: the last of `[B, T, D]`, else the one behind the batch."""
    return 2 if output.dim() == 3 else 1


@contextlib.contextmanager
def gated(
    model: nn.Module, gates: Mapping[str, Tensor], *, seen: dict[str, list[Tensor]] | None = None
) -> Iterator[nn.Module]:
    """Multiply the channels of layers by `gates[layer]`, `[channels]` or `[batch, channels]`, inside the block.

    A gate of one changes nothing, bit for bit. With `seen`, the outputs behind the gates are appended to
    `seen[layer]`, one a call. A layer that runs several times has the same gate each time.

    Raises TypeError, naming the layer, where an output is not a tensor, and ValueError where its channels are not those
    of the gate.
    """
    in_place = any(getattr(module, "inplace", False) for module in model.modules())
    handles = []

    def hook(name: str) -> Callable[..., Tensor]:
        def multiply(module: nn.Module, args: Any, output: Any) -> Tensor:
            if not isinstance(output, Tensor):
                raise TypeError(f"layers: {name!r} puts out {type(output).__name__}; a gate needs a tensor")
            gate, axis = gates[name], channel_axis(output)
            if output.dim() < 2 or output.shape[axis] != gate.shape[-1]:
                raise ValueError(
                    f"layers: {name!r} puts out {tuple(output.shape)}; its gate has {gate.shape[-1]} channels"
                )
            shape = [1] * output.dim()
            shape[axis] = -1
            if gate.dim() == 2:
                shape[0] = len(gate)
            result = output * gate.to(output.dtype).reshape(shape)
            if seen is not None:
                seen.setdefault(name, []).append(result)
                result = result.clone() if in_place else result  # what follows must not change what was seen
            return result

        return multiply

    try:
        for name in gates:
            handles.append(model.get_submodule(name).register_forward_hook(hook(name)))
        yield model
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def listening(model: nn.Module, layers: Sequence[str], seen: dict[str, list[Tensor]]) -> Iterator[nn.Module]:
    """Append what the layers put out to `seen[layer]`, one copy a call, inside the block."""

    def hook(name: str) -> Callable[..., None]:
        def keep(module: nn.Module, args: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise TypeError(f"layers: {name!r} puts out {type(output).__name__}; a gate needs a tensor")
            seen.setdefault(name, []).append(output.clone())

        return keep

    handles = []
    try:
        for name in layers:
            handles.append(model.get_submodule(name).register_forward_hook(hook(name)))
        yield model
    finally:
        for handle in handles:
            handle.remove()


def gate_layers(model: nn.Module, layers: str | Sequence[str], example: Tensor) -> dict[str, int]:
    """The layers to gate with their numbers of channels.

    `"auto"` takes the model's blocks. Of a run of layers with the same channels, such as a convolution, its norm and
    its activation, only the last is gated, and the layer that gives the model's output never is.

    Raises TypeError, naming the layer, where a named layer puts out no tensor; ValueError where nothing is left.
    """
    names = resolve_layers(model, layers)
    outputs: dict[str, Any] = {}

    def hook(name: str) -> Callable[..., None]:
        def keep(module: nn.Module, args: Any, output: Any) -> None:
            outputs.setdefault(name, output.detach().clone() if isinstance(output, Tensor) else output)

        return keep

    handles = [model.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    try:
        with left_as_it_was(model, seed=0), torch.no_grad():
            final = as_embedding(model(example))
    finally:
        for handle in handles:
            handle.remove()
    found: dict[str, int] = {}
    last: tuple[str, int] | None = None
    for name in names:
        output = outputs.get(name)
        if not isinstance(output, Tensor):
            if layers == "auto":
                continue
            raise TypeError(f"layers: {name!r} puts out {type(output).__name__}; a gate needs a tensor")
        if output.dim() < 2 or len(output) != len(example):
            if layers == "auto":
                continue
            raise ValueError(
                f"layers: {name!r} puts out shape {tuple(output.shape)}; a gate needs [batch, channels, ...]"
            )
        channels = output.shape[channel_axis(output)]
        if layers == "auto":
            if output.shape == final.shape and torch.equal(output, final):
                continue
            plain = not any(p.dim() > 1 for p in model.get_submodule(name).parameters())
            if plain and last is not None and last[1] == channels:
                found.pop(last[0])
            elif plain and isinstance(model.get_submodule(name), nn.Flatten):
                continue
        found[name] = channels
        last = (name, channels)
    if not found:
        raise ValueError(f"layers: {layers!r} leaves no layer to gate in {type(model).__name__}; name some")
    return found
