"""Set a network's weights to criticality, in place."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from erlangen.audit.theory.tuning import Criticality, criticality
from erlangen.audit.theory.weights import Weight, trace_weights
from erlangen.stats.activations import Activation


@dataclass(frozen=True)
class Initialised:
    """What was done to one weight: the variances `C_b` of its biases and `C_W / fan_in` of its entries."""

    name: str
    activation: str
    C_b: float
    C_W: float
    fan_in: int
    branch_end: bool


@torch.no_grad()
def init_critical_(
    model: nn.Module,
    x: Tensor | None = None,
    *,
    activation: "str | Activation | Callable[[Tensor], Tensor] | None" = None,
    generator: torch.Generator | None = None,
) -> list[Initialised]:
    """Draw all weights and biases of linear maps and convolutions afresh, at criticality; says what was done.

    Each weight is Gaussian with variance `C_W / fan_in`, each bias with variance `C_b`, by the `criticality` of the
    activation that the layer's input comes from. With a batch of inputs `x` the network is run once and every
    activation, norm and residual sum is found as it is used; the first layer is scaled to the measured size of the
    inputs. Without `x`, `model`'s own activation modules must be of one kind, or `activation` must say which, layers
    are taken in the order in which they were made, and inputs to have mean square 1.
    A layer that ends a residual branch (`z + branch(z)`) gets its variance divided by the number of branches, so that
    the whole network multiplies the variance by at most e. Norms are reset to the identity; they make the scale before
    them irrelevant.

    Raises ValueError for an activation without a critical tuning, naming it, before anything is changed.
    """
    given = Activation(activation) if activation is not None else None
    weights = trace_weights(model, x) if x is not None else _registered(model, given)
    if not weights:
        raise ValueError("model: no linear map or convolution was found in it")
    if given is not None and x is not None:
        weights = [_with(w, given) for w in weights]
    stages = {stage.name: stage for w in weights for stage in (w.before, w.after) if stage is not None}
    tuned = {name: criticality(stage) for name, stage in stages.items()}
    for name, found in tuned.items():
        if not found.exists:
            raise ValueError(f"activation: {name!r} has no critical tuning: {found.notes}")
    branches = max(1, sum(w.branch_end for w in weights))
    done = [_tune(w, tuned, branches) for w in weights]
    for w, row in zip(weights, done, strict=True):
        w.weight.copy_(_gaussian(w.weight, math.sqrt(row.C_W / w.fan_in), generator))
        if w.bias is not None:
            w.bias.copy_(_gaussian(w.bias, math.sqrt(row.C_b), generator))
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm | nn.RMSNorm):
            module.reset_parameters()
    return done


def _gaussian(like: Tensor, std: float, generator: torch.Generator | None) -> Tensor:
    device = generator.device if generator is not None else like.device
    return (std * torch.randn(like.shape, generator=generator, dtype=like.dtype, device=device)).to(like.device)


def _tune(w: Weight, tuned: dict[str, Criticality], branches: int) -> Initialised:
    target = tuned[w.after.name].K_star if w.after is not None else math.nan
    target = target if target > 0 else 1.0
    share = 1 / branches if w.branch_end else 1.0
    if w.before is None:  # the network's input, or the output of a norm or of a sum
        C_b, C_W, name = 0.0, target / w.square if w.square > 0 else 1.0, "linear"
    else:
        found = tuned[w.before.name]
        C_b, C_W, name = found.C_b, found.C_W, w.before.name
    return Initialised(w.name, name, share * C_b, share * C_W, w.fan_in, w.branch_end)


def _with(w: Weight, activation: Activation) -> Weight:
    return replace(w, before=activation if w.before is not None else None, after=activation if w.after else None)


def _registered(model: nn.Module, given: Activation | None) -> list[Weight]:
    """Without a run: layers in the order in which they were made, one kind of activation between all of them."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, kinds)]
    if given is None:
        stages = {}
        for module in model.modules():
            if not list(module.children()) and not list(module.parameters(recurse=False)):
                try:
                    stage = Activation(module)
                except (TypeError, ValueError, RuntimeError, IndexError):
                    continue
                if stage.slopes != (1.0, 1.0):
                    stages[stage.name] = stage
        if len(stages) != 1:
            what = "no activation module" if not stages else f"the activations {', '.join(sorted(stages))}"
            raise ValueError(f"x: {what} found; give inputs x, so that one run shows what stands between the layers")
        given = next(iter(stages.values()))
    found = []
    for place, (name, module) in enumerate(layers):
        weight = module.weight
        if isinstance(weight, nn.parameter.UninitializedParameter):
            raise ValueError(f"model: {name!r} is not initialised yet; give inputs x, or run the model once")
        window = weight[0, 0].numel() if weight.dim() > 2 else 1
        found.append(
            Weight(
                f"{name}.weight" if name else "weight",
                weight,
                module.bias,
                weight.shape[1] * window,
                weight.shape[0] * window,
                before=given if place else None,
                after=given if place < len(layers) - 1 else None,
            )
        )
    return found
