"""The tangent kernel of an actual network, in blocks that fit a number of bytes."""

from collections.abc import Iterator
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
    ram: str | int = "512MiB",
) -> Tensor:
    """`J(x) J(y)^T` over all trainable parameters: `[n, m]` averaged over outputs, `[n, m, c, c]` with "full".

    Jacobians are taken for as many parameters and inputs at a time as `ram` allows, so a network of a million
    parameters needs no more memory than a small one. The model is run in evaluation mode and left as it was.

    Raises ValueError for an output that is not `[batch, outputs]`, or where a single input exceeds `ram`.
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
        for group in _groups(parameters, count * min(len(x), INPUTS), parse_bytes(ram)):
            _add(kernel, model, group, x, y, count, parse_bytes(ram))
    finally:
        for module, training in modes.items():
            module.training = training
    return kernel if outputs == "full" else kernel / count


def _groups(parameters: dict[str, Tensor], rows: int, ram: int) -> Iterator[dict[str, Tensor]]:
    """Parameters together as long as the Jacobian of that many rows stays small; each at least by itself."""
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
        raise ValueError(f"ram: the Jacobian of one input to {next(iter(group))!r} takes {need:,} bytes; allow that")

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
