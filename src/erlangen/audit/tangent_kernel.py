"""The tangent kernel of an actual network, in blocks that fit a number of bytes."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from erlangen.audit.budget import parse_bytes

INPUTS = 16
FEW = 128


def empirical_ntk(
    model: nn.Module,
    x: Tensor,
    y: Tensor | None = None,
    *,
    outputs: Literal["full", "trace"] = "trace",
    nbytes: str | int = "512MiB",
) -> Tensor:
    """`J(x) J(y)^T` over all trainable parameters: `[n, m]` averaged over outputs, `[n, m, c, c]` with "full".

    Of linear maps of rows the part is `(a a^T + 1) * (d d^T)`, from their inputs a and the gradients d at their outputs:
    one backward pass an output. For other parameters Jacobians are taken for as many of them, and of the inputs, at a
    time as `nbytes` allow. The model is run in evaluation mode, in which no row may depend on another, and left as it was.

    Raises ValueError for an output that is not `[batch, outputs]`, or where the Jacobian of a single input exceeds `nbytes`.

    Jacot, Gabriel and Hongler, "Neural Tangent Kernel", 2018, arXiv:1806.07572.
    """
    if outputs not in ("full", "trace"):
        raise ValueError(f"outputs: {outputs!r}; allowed are 'full', 'trace'")
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            example = model(x[:1])
        if not isinstance(example, Tensor) or example.dim() != 2:
            raise ValueError("model: its output must be a tensor [batch, outputs]")
        parameters = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
        if not parameters:
            raise ValueError("model: it has no trainable parameters")
        count = example.shape[1]
        size = (len(x), len(x if y is None else y), *((count, count) if outputs == "full" else ()))
        kernel = torch.zeros(size, dtype=example.dtype, device=example.device)
        firsts = _factors(model, x, count)
        seconds = firsts if y is None else _factors(model, y, count)
        for name in firsts.keys() & seconds.keys():
            first, second = firsts[name], seconds[name]
            _add_product(kernel, first, second)
            for own in first.parameters:
                parameters.pop(own)
        for group in _groups(parameters, count * min(len(x), INPUTS), parse_bytes(nbytes)):
            _add(kernel, model, group, x, y, count, parse_bytes(nbytes))
    finally:
        for module, training in modes.items():
            module.training = training
    return kernel if outputs == "full" else kernel / count


@dataclass(frozen=True)
class _Factors:
    """Inputs `[n, in]` of a linear map (with a column of ones for a bias) and gradients `[n, c, out]` at its output."""

    parameters: tuple[str, ...]
    inputs: Tensor
    slopes: Tensor


def _factors(model: nn.Module, x: Tensor, outputs: int) -> dict[str, _Factors]:
    """The linear maps whose parameters can all be trained, are used nowhere else, and see rows once."""
    owners = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    chosen = {
        name: module
        for name, module in model.named_modules()
        if type(module) is nn.Linear and all(p.requires_grad and owners[id(p)] == 1 for p in module.parameters())
    }
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in chosen}

    def listen(name: str) -> Callable[..., None]:
        return lambda module, args, output: seen[name].append((args[0], output))

    handles = [module.register_forward_hook(listen(name)) for name, module in chosen.items()]
    try:
        with torch.enable_grad():
            output = model(x)
    finally:
        for handle in handles:
            handle.remove()
    used = {n: calls[0] for n, calls in seen.items() if len(calls) == 1 and calls[0][0].dim() == 2}
    used = {n: pair for n, pair in used.items() if pair[1].requires_grad and len(pair[0]) == len(x)}
    if not used or not output.requires_grad:
        return {}
    ends = [pair[1] for pair in used.values()]
    columns = [
        torch.autograd.grad(output[:, c].sum(), ends, retain_graph=c < outputs - 1, allow_unused=True)
        for c in range(outputs)
    ]
    found = {}
    for place, (name, (inputs, end)) in enumerate(used.items()):
        slopes = torch.stack([torch.zeros_like(end) if g[place] is None else g[place] for g in columns], 1).detach()
        prefix = f"{name}." if name else ""
        bias = chosen[name].bias is not None
        inputs = inputs.detach()
        inputs = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1) if bias else inputs
        own = (f"{prefix}weight", f"{prefix}bias") if bias else (f"{prefix}weight",)
        found[name] = _Factors(own, inputs, slopes)
    return found


def _add_product(kernel: Tensor, first: _Factors, second: _Factors) -> None:
    gram = first.inputs @ second.inputs.T
    if kernel.dim() == 2:
        kernel += gram * (first.slopes.flatten(1) @ second.slopes.flatten(1).T)
        return
    flat = first.slopes.flatten(0, 1) @ second.slopes.flatten(0, 1).T
    products = flat.view(*first.slopes.shape[:2], *second.slopes.shape[:2]).permute(0, 2, 1, 3)
    kernel += gram[:, :, None, None] * products


def _groups(parameters: dict[str, Tensor], rows: int, ram: int) -> Iterator[dict[str, Tensor]]:
    """Parameters together as long as the Jacobian of that many rows stays small; each at least by itself."""
    if not parameters:
        return
    group: dict[str, Tensor] = {}
    held = 0
    for name, parameter in parameters.items():
        size = 4 * rows * parameter.numel() * parameter.element_size()
        if group and held + size > ram:
            yield group
            group, held = {}, 0
        group[name] = parameter
        held += size
    yield group


def _add(
    kernel: Tensor, model: nn.Module, group: dict[str, Tensor], x: Tensor, y: Tensor | None, outputs: int, ram: int
) -> None:
    """Add the part of some parameters, in blocks of inputs."""
    # two blocks of Jacobians live at a time, and reverse mode holds about as much again
    need = 4 * outputs * sum(p.numel() * p.element_size() for p in group.values())
    block = ram // need
    if block < 1:
        raise ValueError(f"nbytes: the Jacobian of one input to {next(iter(group))!r} takes {need:,} bytes; allow that")

    def forward(values: dict[str, Tensor], one: Tensor) -> Tensor:
        return functional_call(model, values, (one.unsqueeze(0),))[0]

    mapped = vmap(jacrev(forward), in_dims=(None, 0))

    def jacobian(part: Tensor) -> Tensor:
        if outputs * len(part) <= FEW:
            return _row_by_row(model, group, part)
        found = mapped(group, part)
        return torch.cat([found[name].detach().flatten(2) for name in group], 2)

    rows = x.split(block)
    for i, part in enumerate(rows):
        left = jacobian(part)
        for j, other in enumerate(rows if y is None else y.split(block)):
            if y is None and j < i:
                continue
            right = left if y is None and i == j else jacobian(other)
            if kernel.dim() == 4:
                flat = left.flatten(0, 1) @ right.flatten(0, 1).T
                products = flat.view(*left.shape[:2], *right.shape[:2]).permute(0, 2, 1, 3)
            else:
                products = left.flatten(1) @ right.flatten(1).T
            at, to = slice(i * block, i * block + len(left)), slice(j * block, j * block + len(right))
            kernel[at, to] += products
            if y is None and j > i:
                kernel[to, at] += products.permute(1, 0, 3, 2) if kernel.dim() == 4 else products.T


def _row_by_row(model: nn.Module, group: dict[str, Tensor], part: Tensor) -> Tensor:
    """The Jacobian `[n, c, parameters]` by one backward pass a number; few of them need no vectorisation."""
    values = {name: p.clone().requires_grad_(True) for name, p in group.items()}
    with torch.enable_grad():
        output = functional_call(model, values, (part,))
        rows = [torch.cat([g.flatten() for g in _filled(number, values)]) for number in output.flatten()]
    return torch.stack(rows).view(*output.shape, -1)


def _filled(number: Tensor, values: dict[str, Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(number, list(values.values()), retain_graph=True, allow_unused=True)
    return [torch.zeros_like(v) if g is None else g for v, g in zip(values.values(), found, strict=True)]
