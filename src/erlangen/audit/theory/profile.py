"""How signals and gradients grow or shrink through an actual network, beside what theory says of its weights."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from erlangen.audit.collect import as_embedding
from erlangen.audit.theory.weights import Weight, run_traced
from erlangen.stats.gaussian_expectations import second_moment
from erlangen.stats.resample import bootstrap_bca

TRAINABLE = 6.0


@dataclass(frozen=True)
class Profile:
    """One row a weight, in order of use.

    `signal` is the mean square of its output z, `gradient` that of the squared length of the gradient at z, one value
    a sample, `[weights, samples]`; `chi` the factor `C_W E[s'(z)^2]` between the gradients of neighbouring layers in a
    plain chain (NaN where no activation stands before), `predicted` the mean square of z from that of the layer before
    by the kernel recursion with this weight's own variances.
    """

    weights: list[Weight]
    signal: Tensor
    gradient: Tensor
    chi: Tensor
    predicted: Tensor

    @property
    def names(self) -> list[str]:
        return [w.name.removesuffix(".weight") for w in self.weights]

    def growth(self, which: Tensor, *, level: float, generator: torch.Generator) -> tuple[float, float, float]:
        """`ln` of the last layer's mean over the first's, with a bootstrap interval over samples."""
        ends = which[[0, -1]].T.double()
        if not bool((ends.mean(0) > 0).all()):
            return math.nan, math.nan, math.nan
        value = float((ends[:, 1].mean() / ends[:, 0].mean()).log())
        low, high = bootstrap_bca(
            ends,
            of_means=lambda m: (m[..., 1] / m[..., 0]).clamp(min=1e-300).log(),
            level=level,
            generator=generator,
        )
        return value, low, high

    @property
    def aspect_ratio(self) -> float:
        """Depth over width: the sum of `1 / width` over the hidden layers."""
        return sum(1 / w.fan_out for w in self.weights[:-1])


def profile(model: nn.Module, x: Tensor, *, generator: torch.Generator | None = None) -> Profile:
    """Run `model` forwards on `x` and backwards from one random direction of its output for each sample.

    Raises ValueError where fewer than two weights are used, or gradients do not reach them.
    """
    with torch.inference_mode(False), torch.enable_grad():
        start = x.detach().clone().requires_grad_(x.is_floating_point())
        tracer, output = run_traced(model, start, gradients=True)
        weights = list(tracer.found.values())
        if len(weights) < 2:
            raise ValueError(f"model: {len(weights)} linear maps or convolutions were used; depth needs at least two")
        embedding = as_embedding(output)
        direction = torch.randn(embedding.shape, generator=generator, dtype=embedding.dtype).to(embedding.device)
        outputs = [tracer.outputs[w.name] for w in weights]
        if not embedding.requires_grad:
            raise ValueError("model: its output does not depend on its weights by a differentiable path")
        slopes = torch.autograd.grad((embedding * direction).sum(), outputs, allow_unused=True)
    kept = [i for i, g in enumerate(slopes) if g is not None and len(outputs[i]) == len(x)]
    if len(kept) < 2:
        raise ValueError("model: gradients reach fewer than two of its layers")
    signal = torch.stack([outputs[i].detach().flatten(1).double().square().mean(1).cpu() for i in kept])
    gradient = torch.stack([slopes[i].detach().flatten(1).double().square().sum(1).cpu() for i in kept])
    chosen = [weights[i] for i in kept]
    chi, predicted = [], []
    for w in chosen:
        C_W = w.fan_in * float(w.weight.detach().double().square().mean())
        C_b = float(w.bias.detach().double().square().mean()) if w.bias is not None else 0.0
        chi.append(C_W * w.slope_square)
        known = w.before is not None and math.isfinite(w.before_square)
        moment = float(second_moment(w.before, w.before_square)) if known and w.before is not None else w.square
        predicted.append(C_b + C_W * moment)
    return Profile(chosen, signal, gradient, torch.tensor(chi), torch.tensor(predicted))
