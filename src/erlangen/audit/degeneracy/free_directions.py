"""How many parameters of each layer do nothing on these data, and why."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from erlangen.audit.budget import parse_bytes
from erlangen.audit.degeneracy.sections import batches, first_tensor
from erlangen.audit.jacobians import output_gradients

FLAT = 1e-12  # variance below this part of the mean square is rounding


@dataclass(frozen=True)
class LayerDegeneracy:
    """The free directions of one layer's weights (with its bias, as one matrix `[outputs, inputs + 1]`).

    At least `free` directions leave the outputs on these data as they are to second order: `by_inputs` because inputs
    of the layer are linearly dependent, `by_gradients` because its outputs matter only in fewer combinations.
    `synchronised`: sizes of groups of units behind the layer whose ReLUs are on and off together, and `free_by_relu`
    the further directions that they allow together with the next layer; both empty and 0 with `relu=False`, where
    something else follows. `samples` counts the rows that the layer multiplied (a convolution has one at every place);
    `enough` says whether there were at least four for each input.
    """

    layer: str
    parameters: int
    inputs: int
    outputs: int
    input_rank: int
    gradient_rank: int
    synchronised: list[int]
    relu: bool
    samples: int

    @property
    def by_inputs(self) -> int:
        return (self.inputs - self.input_rank) * self.outputs

    @property
    def by_gradients(self) -> int:
        return self.input_rank * (self.outputs - self.gradient_rank)

    @property
    def free(self) -> int:
        """`inputs outputs - rank(G) rank(K)`."""
        return self.inputs * self.outputs - self.input_rank * self.gradient_rank

    @property
    def free_by_relu(self) -> int:
        return sum(k * k - k for k in self.synchronised)

    @property
    def enough(self) -> bool:
        return self.samples >= 4 * self.inputs

    @property
    def dead(self) -> bool:
        return self.gradient_rank == 0


def degeneracy_report(
    model: nn.Module,
    data: Any,
    *,
    rtol: float = 1e-6,
    probes: int = 0,
    nbytes: str | int = "64MiB",
    seed: int = 0,
) -> dict[str, LayerDegeneracy]:
    """Free directions in the weights of every linear and (ungrouped) convolutional layer.

    The behavioural loss `E|f_theta(x) - f_theta*(x)|^2` is 0 at the network itself; its Hessian for one weight matrix
    `[m, n]` lies in the span of `K x G`, with `G = E[f f^T]` of the layer's inputs (bias folded in as an input that is
    always 1) and `K = E[sum_k p_k p_k^T]` of the gradients of the outputs by its pre-activations. So at least
    `n m - rank(G) rank(K)` directions are free: exactly so in a linear network on generic data.

    Arguments:
        data: inputs `[n, ...]`, or batches of them. The ranks cannot exceed what the samples span.
        nbytes: what gradients and patches may take at a time; decides how many samples go together.
        rtol: eigenvalues below this part of the largest count as zero: of the correlations of the inputs (what does not
            vary apart), and of `K`.
        probes: 0 differentiates every output; else this many random combinations of them for every sample, which have
            the same rank but for a coincidence.

    Layers that run more than once in a pass are left out.

    Raises ValueError for a model without such layers, and where inputs or gradients of a layer are not finite.

    Bushnaq et al., 2024, arXiv:2405.10927, sections 2 and 3.
    """
    layers: dict[str, nn.Module] = {
        n: m
        for n, m in model.named_modules()
        if isinstance(m, nn.Linear) or (isinstance(m, nn.Conv2d) and m.groups == 1)
    }
    if not layers:
        raise ValueError("model: it has no linear or convolutional layers")
    grams: dict[str, Tensor] = {}
    kernels: dict[str, Tensor] = {}
    patterns: dict[str, list[Tensor]] = {n: [] for n in layers}
    first = batches(data)[0]
    followers = _followers(model, layers, first[:2])
    rows = max(1, parse_bytes(nbytes) // (2 * _bytes_a_sample(model, layers, first[:1])))
    generator = torch.Generator().manual_seed(seed)
    for x in (part for batch in batches(data) for part in batch.split(rows)):
        for name, (inputs, outputs) in _run(model, layers, x, nbytes, probes, generator).items():
            grams[name] = grams.get(name, 0) + inputs.T @ inputs
            kernels[name] = kernels.get(name, 0) + outputs[0]
            patterns[name].append(outputs[1])
    found = {}
    for name in layers:
        if name not in grams:
            continue
        gram, kernel = grams[name], kernels[name]
        if not bool(torch.isfinite(gram).all() and torch.isfinite(kernel).all()):
            raise ValueError(f"model: inputs or gradients of {name or 'the layer'!r} are not finite on these data")
        relu = followers[name] == {"relu"}
        found[name] = LayerDegeneracy(
            name,
            len(gram) * len(kernel),
            len(gram),
            len(kernel),
            _input_rank(gram, rtol),
            _rank(kernel, rtol),
            _groups(torch.cat(patterns[name])) if relu else [],
            relu,
            sum(map(len, patterns[name])),
        )
    return found


def _input_rank(gram: Tensor, rtol: float) -> int:
    """The rank of a Gram whose last column is that of a constant 1, whatever the inputs' units and offsets.

    That is 1 for the constant and the rank of the correlations; inputs that vary by rounding only have none.
    """
    count, mean = gram[-1, -1], gram[:-1, -1] / gram[-1, -1]
    square = gram.diagonal()[:-1] / count
    covariance = gram[:-1, :-1] / count - mean[:, None] * mean
    variance = covariance.diagonal()
    varies = (variance > FLAT * square) & (variance > FLAT * square.max())
    covariance, scale = covariance[varies][:, varies], variance[varies].sqrt()
    return 1 + (_rank(covariance / (scale[:, None] * scale), rtol) if len(scale) else 0)


def _rank(gram: Tensor, rtol: float) -> int:
    values = torch.linalg.eigvalsh((gram + gram.T) / 2)
    return int((values > rtol * values[-1]).sum()) if values[-1] > 0 else 0


def _groups(on: Tensor) -> list[int]:
    """Sizes of groups (of at least two) of units with one pattern of on and off; units that are never on are dead."""
    columns = Counter(c.tobytes() for c in on[:, on.any(0)].T.contiguous().cpu().numpy())
    return sorted((k for k in columns.values() if k > 1), reverse=True)


class _Consumers(TorchFunctionMode):
    """Which operations take the tensors in `watched`."""

    def __init__(self) -> None:
        super().__init__()
        self.watched: dict[int, tuple[Tensor, str]] = {}
        self.found: dict[str, set[str]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "").rstrip("_")
        for a in args:
            if isinstance(a, Tensor) and id(a) in self.watched and name not in ("", "_get"):
                self.found.setdefault(self.watched[id(a)][1], set()).add(name)
        out = func(*args, **(kwargs or {}))
        self.watched.pop(id(out), None)  # an operation in place: from here on the tensor is another
        return out


@torch.no_grad()
def _followers(model: nn.Module, layers: dict[str, nn.Module], x: Tensor) -> dict[str, set[str]]:
    mode = _Consumers()

    def watch(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Tensor) -> None:
            mode.watched[id(output)] = (output, name)

        return hook

    with _listening(model, {n: watch(n) for n in layers}), mode:
        model(x)
    return {n: mode.found.get(n, set()) for n in layers}


@torch.no_grad()
def _bytes_a_sample(model: nn.Module, layers: dict[str, nn.Module], x: Tensor) -> int:
    """What one sample holds of gradients and of patches in float64, in all layers together."""
    total = 0

    def count(module: nn.Module, args: Any, output: Tensor) -> None:
        nonlocal total
        places = output[0, 0].numel() if isinstance(module, nn.Conv2d) else output[..., 0].numel()
        weight = module.get_parameter("weight")
        total += output.numel() * output.element_size() + 8 * places * (weight[0].numel() + 1)

    with _listening(model, dict.fromkeys(layers, count)):
        model(x)
    return max(1, total)


class _listening:
    """Hooks on layers of a model in evaluation mode, and everything as it was afterwards."""

    def __init__(self, model: nn.Module, hooks: dict[str, Any]) -> None:
        self.model, self.hooks = model, hooks

    def __enter__(self) -> None:
        self.handles = [self.model.get_submodule(n).register_forward_hook(h) for n, h in self.hooks.items()]
        self.training = [m for m in self.model.modules() if m.training]
        self.model.eval()

    def __exit__(self, *exception: object) -> None:
        for handle in self.handles:
            handle.remove()
        for module in self.training:
            module.training = True


def _run(
    model: nn.Module,
    layers: dict[str, nn.Module],
    x: Tensor,
    nbytes: str | int,
    probes: int,
    generator: torch.Generator,
) -> dict[str, tuple[Tensor, tuple[Tensor, Tensor]]]:
    """Of one batch: rows of inputs with a 1 appended, the Gram of gradients, and which units are on."""
    held: dict[str, tuple[Tensor, Tensor]] = {}
    again: set[str] = set()

    def keep(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor:
            if name in held:
                again.add(name)
                return output
            leaf = output.detach().clone().requires_grad_(True)
            held[name] = (args[0].detach().clone(), leaf)
            return output + (leaf - leaf.detach())  # the value of the output, with the leaf in the graph as well

        return hook

    with _listening(model, {n: keep(n) for n in layers}), torch.enable_grad():
        out = first_tensor(model(x)).flatten(1)
    held = {n: pair for n, pair in held.items() if n not in again}
    kernels: dict[str, Any] = dict.fromkeys(held, 0.0)
    for chunk in output_gradients(
        out, [leaf for _, leaf in held.values()], nbytes=nbytes, probes=probes, generator=generator
    ):
        for name, gradient in zip(held, chunk, strict=True):
            rows = _places(gradient.flatten(0, 1)).double()
            kernels[name] = kernels[name] + rows.T @ rows
    found = {}
    for name, (value, leaf) in held.items():
        patches = _patches(layers[name], value).double()
        patches = torch.cat([patches, patches.new_ones(len(patches), 1)], 1)
        found[name] = (patches, (kernels[name], _places(leaf.detach() > 0)))
    return found


def _places(x: Tensor) -> Tensor:
    """`[samples, channels, height, width]` or `[samples, ..., features]` as rows of features."""
    return (x.flatten(2).transpose(1, 2) if x.dim() == 4 else x).flatten(0, -2)


def _patches(layer: nn.Module, x: Tensor) -> Tensor:
    """What a layer multiplies its weights with, a row for every place."""
    if isinstance(layer, nn.Conv2d):
        x = x.unsqueeze(0) if x.dim() == 3 else x
        if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            x = F.pad(
                x,
                layer._reversed_padding_repeated_twice,
                "constant" if layer.padding_mode == "zeros" else layer.padding_mode,
            )
            padding: Any = 0
        else:
            padding = layer.padding
        columns = F.unfold(x, layer.kernel_size, dilation=layer.dilation, padding=padding, stride=layer.stride)
        return columns.transpose(1, 2).flatten(0, 1)
    return x.reshape(-1, x.shape[-1])
