"""The tangent kernel of an actual network, in blocks that fit a number of bytes."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from erlangen.audit.budget import parse_bytes


def empirical_ntk(
    model: nn.Module,
    x: Tensor,
    y: Tensor | None = None,
    *,
    outputs: Literal["full", "trace"] = "trace",
    ram: str | int = "512MiB",
) -> Tensor:
    """`J(x) J(y)^T` over all trainable parameters: `[n, m]` averaged over outputs, `[n, m, c, c]` with "full".

    Jacobians are taken parameter by parameter for as many inputs as `ram` allows, so a network of a million
    parameters needs no more than a small one. The model is run in evaluation mode and left as it was.

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
        kernel = x.new_zeros(
            len(x), len(x if y is None else y), example.shape[1], example.shape[1], dtype=example.dtype
        )
        for name, parameter in parameters.items():
            _add(kernel, model, name, parameter, x, y, parse_bytes(ram))
    finally:
        for module, training in modes.items():
            module.training = training
    return kernel if outputs == "full" else kernel.diagonal(dim1=2, dim2=3).mean(2)


def _add(kernel: Tensor, model: nn.Module, name: str, parameter: Tensor, x: Tensor, y: Tensor | None, ram: int) -> None:
    """Add the part of one parameter, in blocks of inputs."""
    outputs = kernel.shape[2]
    # two blocks of Jacobians live at a time, and reverse mode holds about as much again
    block = ram // (4 * outputs * parameter.numel() * parameter.element_size())
    if block < 1:
        need = 4 * outputs * parameter.numel() * parameter.element_size()
        raise ValueError(f"ram: the Jacobian of one input to {name!r} takes {need:,} bytes; allow at least that")

    def forward(value: Tensor, one: Tensor) -> Tensor:
        return functional_call(model, {name: value}, (one.unsqueeze(0),))[0]

    mapped = vmap(jacrev(forward), in_dims=(None, 0))

    def jacobian(value: Tensor, part: Tensor) -> Tensor:
        return mapped(value, part).detach()

    rows = x.split(block)
    for i, part in enumerate(rows):
        left = jacobian(parameter, part).flatten(2)
        for j, other in enumerate(rows if y is None else y.split(block)):
            if y is None and j < i:
                continue
            right = left if y is None and i == j else jacobian(parameter, other).flatten(2)
            products = torch.einsum("acp,bdp->abcd", left, right)
            at, to = slice(i * block, i * block + len(left)), slice(j * block, j * block + len(right))
            kernel[at, to] += products
            if y is None and j > i:
                kernel[to, at] += products.permute(1, 0, 3, 2)
