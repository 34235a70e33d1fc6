"""Products with Jacobians, and Grams of Jacobians, in chunks that a byte budget allows."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from erlangen.audit.budget import parse_bytes
from erlangen.audit.tangent_kernel import empirical_ntk

__all__ = ["empirical_ntk", "jacobian_gram", "jvp", "output_gradients", "vjp"]

Tangent = dict[str, Tensor]


def _split(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    learned = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    if not learned:
        raise ValueError("model: it has no trainable parameters, so there is nothing to differentiate by")
    frozen = {n: p.detach() for n, p in model.named_parameters() if not p.requires_grad}
    return learned, frozen | dict(model.named_buffers())


def _rows(x: Tensor, bytes_a_row: int, budget: str | int, what: str) -> int:
    """How many rows at once: as many as the budget holds."""
    limit = parse_bytes(budget)
    if bytes_a_row > limit:
        raise ValueError(f"nbytes: {what} of one sample takes {bytes_a_row:,} bytes of the {limit:,} allowed")
    return max(1, min(len(x), limit // max(1, bytes_a_row)))


def jvp(model: nn.Module, x: Tensor, tangent: Tangent, *, rows: int = 256) -> Tensor:
    """How the outputs change along a direction in parameter space: `J v`, `[samples, outputs]`.

    `tangent` names some of the parameters; the others stay. `rows` samples go at a time.
    """
    learned, rest = _split(model)
    unknown = sorted(set(tangent) - set(learned))
    if unknown:
        raise ValueError(f"tangent: {unknown[0]!r} is not a trainable parameter; there are {', '.join(learned)}")
    moved = {n: learned[n] for n in tangent}
    fixed = {n: p for n, p in learned.items() if n not in tangent} | rest

    def outputs(own: Tangent, part: Tensor) -> Tensor:
        return functional_call(model, {**own, **fixed}, (part,))

    parts = [torch.func.jvp(lambda own, p=part: outputs(own, p), (moved,), (tangent,))[1] for part in x.split(rows)]
    return torch.cat(parts)


def vjp(model: nn.Module, x: Tensor, cotangent: Tensor, *, rows: int = 256) -> Tangent:
    """The gradient of `sum(outputs * cotangent)` by the parameters: `J^T u`, summed over samples, `rows` at a time."""
    learned, rest = _split(model)
    if len(cotangent) != len(x):
        raise ValueError(f"cotangent: {len(cotangent)} rows for {len(x)} samples; must be as many")
    total = {n: torch.zeros_like(p) for n, p in learned.items()}
    for part, u in zip(x.split(rows), cotangent.split(rows), strict=True):
        _, pull = torch.func.vjp(lambda own, p=part: functional_call(model, {**own, **rest}, (p,)), learned)  # type: ignore[misc]
        for name, gradient in pull(u)[0].items():
            total[name] += gradient
    return total


def output_gradients(
    outputs: Tensor,
    inputs: Sequence[Tensor],
    *,
    nbytes: str | int = "64MiB",
    probes: int = 0,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[Tensor, ...]]:
    """Gradients of every output by several inputs of its own sample, in chunks `[outputs, samples, ...]`.

    An input that no output depends on gets zeros.

    Arguments:
        outputs: `[samples, ...]`, computed sample by sample from `inputs`, with a graph.
        probes: instead of every output, this many random combinations with signs +-1, drawn anew for every sample
            (the mean of their Gram is the same).
        nbytes: what one chunk may take.
    """
    flat = outputs.flatten(1)
    samples, count = flat.shape
    total = probes or count
    size = sum(t.numel() * t.element_size() for t in inputs)
    chunk = _rows(torch.empty(total, device="meta"), size, nbytes, "the gradient of one output")
    for start in range(0, total, chunk):
        stop = min(start + chunk, total)
        if probes:
            signs = torch.randint(0, 2, (stop - start, samples, count), generator=generator)
            basis = (signs.to(flat) * 2 - 1) / probes**0.5
        else:
            rows = torch.zeros(stop - start, count, dtype=flat.dtype, device=flat.device)
            rows[torch.arange(stop - start), torch.arange(start, stop)] = 1
            basis = rows.unsqueeze(1).expand(-1, samples, -1)
        found = torch.autograd.grad(
            flat, tuple(inputs), basis, is_grads_batched=True, retain_graph=True, allow_unused=True
        )
        yield tuple(t.new_zeros(len(basis), *t.shape) if g is None else g for t, g in zip(inputs, found, strict=True))


def jacobian_gram(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    nbytes: str | int = "64MiB",
    probes: int = 0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """`mean over samples of J^T J`, `[inputs, inputs]` in float64, for a function of rows `[n, inputs]`.

    Arguments:
        probes: 0 differentiates every output; else this many random +-1 combinations estimate the same without bias.
    """
    if x.dim() != 2:
        raise ValueError(f"x: shape {tuple(x.shape)}; must be [samples, inputs]")
    leaf = x.detach().clone().requires_grad_(True)
    total = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64, device=x.device)
    for (part,) in output_gradients(function(leaf), [leaf], nbytes=nbytes, probes=probes, generator=generator):
        rows = part.flatten(0, 1).double()
        total += rows.T @ rows
    return total / len(x)
