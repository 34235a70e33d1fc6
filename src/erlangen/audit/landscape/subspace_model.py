"""A network that can move only in a random subspace of its weights."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from erlangen.audit.landscape.projections import Projection, make_projection

COMPACT = "subspace"


class SubspaceModel(nn.Module):
    """`theta = theta_0 + P v`: the weights are those at the start plus a random map of the one parameter `v`.

    `theta_0` is what `model` holds when it is given; `v` starts at zero, so that the network starts as it was. Weight
    decay acts on `v`. Statistics of batch norm are state, not weights; its scale and shift are weights.

    Arguments:
        model: any network; it is copied. Weights that do not require a gradient or are not floating stay fixed and are
            named in `fixed`.
        dim: coordinates, from 1 to the number of trainable weights.
        projection: "fastfood" (O(D log D) time, O(D) memory), "dense" (O(dim D)), "sparse" (O(dim sqrt D)) or
            "orthonormal"; or a `Projection` of at least `dim` coordinates that several models share, of which the
            first `dim` are used (`v` then has as many entries as it, the others without effect).
        seed: of the projection.

    Raises:
        ValueError: nothing to train, lazily initialised modules, `dim` out of range.

    Source: Li, Farkhoor, Liu and Yosinski, Measuring the Intrinsic Dimension of Objective Landscapes, 2018,
    arXiv:1804.08838. Columns are normalised over the whole vector of weights, not per tensor, as in the authors' code.
    """

    used: Tensor

    def __init__(self, model: nn.Module, dim: int, *, projection: str | Projection = "fastfood", seed: int = 0) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        self.dim, self.seed = dim, seed
        shapes, self.fixed, dtype = _weights_to_buffers(self.model)
        self.shapes = shapes
        sizes = [shape.numel() for shape in shapes.values()]
        if isinstance(projection, str):
            projection = make_projection(projection, dim, sizes, seed=seed, dtype=dtype)
        if not 1 <= dim <= projection.dim or projection.size != sum(sizes):
            raise ValueError(
                f"dim, projection: {dim} and a projection of {projection.dim} coordinates to {projection.size} weights "
                f"for a network of {sum(sizes)}; it must fit the network and have at least `dim` coordinates"
            )
        self.projection = projection
        device = next(self.model.buffers()).device
        self.projection.to(device)
        self.v = nn.Parameter(torch.zeros(projection.dim, dtype=dtype, device=device))
        used = (torch.arange(projection.dim, device=device) < dim).to(dtype)
        self.register_buffer("used", used, persistent=False)

    @classmethod
    def from_seed(
        cls, model_fn: Callable[[], nn.Module], dim: int, *, projection: str = "fastfood", seed: int = 0
    ) -> "SubspaceModel":
        """Both the initial weights and the projection from one seed: with it, a compact checkpoint is complete."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = model_fn()
        return cls(model, dim, projection=projection, seed=seed)

    @property
    def size(self) -> int:
        """How many weights the network has that can be moved: D."""
        return self.projection.size

    def weights(self) -> dict[str, Tensor]:
        """`theta_0 + P v` by the names of the network's parameters."""
        moved = self.projection(self.v * self.used)
        parts = moved.split([shape.numel() for shape in self.shapes.values()])
        return {
            name: start + part.view(shape).to(start.dtype)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
            for start in (self.model.get_buffer(name),)
        }

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return functional_call(self.model, self.weights(), args, kwargs)

    def materialize(self, model: nn.Module) -> nn.Module:
        """A copy of `model`, of the same architecture, with the weights (and statistics) of this one."""
        made = copy.deepcopy(model)
        state = {**dict(self.model.named_buffers()), **self.weights()}
        made.load_state_dict({name: value.detach() for name, value in state.items()}, strict=False)
        return made

    def state_dict(self, *args: Any, compact: bool = False, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The state; with `compact=True` only the coordinates, the statistics, and what to regenerate the rest from.

        A compact state is loaded into a `SubspaceModel` built with the same network, `dim`, projection and seed.
        """
        full: dict[str, Any] = super().state_dict(*args, **kwargs)
        if not compact:
            return full
        weights = {f"model.{name}" for name in [*self.shapes, *self.fixed]}
        kept = {name: value for name, value in full.items() if name not in weights}
        kept["v"] = full["v"][: self.dim].clone()
        return {**kept, COMPACT: self._identity()}

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Either kind of state.

        Raises:
            ValueError: a compact state of another network, dimension, projection or seed.
        """
        if COMPACT not in state_dict:
            return super().load_state_dict(state_dict, *args, **kwargs)
        given, own = state_dict[COMPACT], self._identity()
        differs = [key for key in own if given.get(key) != own[key]]
        if differs:
            raise ValueError(
                f"state_dict: {differs[0]} is {given.get(differs[0])!r}, here it is {own[differs[0]]!r}; a compact state "
                "fits only the network, dim, projection and seed it was saved with"
            )
        state = {**super().state_dict(), **{k: v for k, v in state_dict.items() if k != COMPACT}}
        state["v"] = nn.functional.pad(state["v"], (0, self.projection.dim - self.dim))
        return super().load_state_dict(state, *args, **kwargs)

    def _identity(self) -> dict[str, Any]:
        start = torch.cat([self.model.get_buffer(name).double().flatten().cpu() for name in self.shapes])
        ramp = torch.arange(1, len(start) + 1, dtype=torch.float64) / len(start)
        return {
            "dim": self.dim,
            "seed": self.seed,
            "projection": self.projection.kind,
            "weights": len(start),
            "initial weights (checksum)": [round(float(start.sum()), 6), round(float((start * ramp).sum()), 6)],
        }

    def extra_repr(self) -> str:
        return f"dim={self.dim} of {self.size}, seed={self.seed}"


def _weights_to_buffers(model: nn.Module) -> tuple[dict[str, torch.Size], list[str], torch.dtype]:
    """Turn every parameter of `model` into a buffer in place: the shapes of those to train, the names of the others.

    A parameter with two names (tied weights) keeps both, and counts once.
    """
    shapes: dict[str, torch.Size] = {}
    fixed: list[str] = []
    dtypes: set[torch.dtype] = set()
    made: dict[int, Tensor] = {}
    for prefix, module in list(model.named_modules()):
        for short, parameter in list(module._parameters.items()):
            if parameter is None:
                continue
            name = f"{prefix}.{short}" if prefix else short
            if isinstance(parameter, nn.parameter.UninitializedParameter):
                raise ValueError(f"model: {name} has no shape yet; run the network once on a batch first")
            if id(parameter) not in made:
                made[id(parameter)] = parameter.detach().clone()
                if parameter.requires_grad and parameter.is_floating_point():
                    shapes[name] = parameter.shape
                    dtypes.add(parameter.dtype)
                else:
                    fixed.append(name)
            del module._parameters[short]
            module.register_buffer(short, made[id(parameter)])
    if not shapes:
        raise ValueError("model: no trainable weights of a floating type; nothing can be moved")
    return shapes, fixed, torch.float64 if torch.float64 in dtypes else torch.float32
