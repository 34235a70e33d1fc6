"""Which coordinates of a network's parameters can be changed together without changing the function."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_leaves

from erlangen.nn.parameter_symmetry import elementwise, linear_rules, shape_rules
from erlangen.nn.parameter_symmetry.confirm import confirm
from erlangen.nn.parameter_symmetry.groups import Fixed, Group, read_groups
from erlangen.nn.parameter_symmetry.surgery import gather_clusters_, permute_, scale_, slice_
from erlangen.nn.parameter_symmetry.trace import Recorder, Trace

RULES = {**elementwise.RULES, **linear_rules.RULES, **shape_rules.RULES}


class CouplingGraph:
    """The groups of units of a network: which indices of which parameter axes belong to one unit.

    `(P W_1, W_2 P^-1)` computes what `(W_1, W_2)` does for every permutation P of the units between them, and, where
    the activation is positively homogeneous, for every positive diagonal P; two units that compute the same can be made
    one, and a unit that nobody reads can be taken out. Residual connections, normalisations, concatenation, flattening,
    gates, tied weights, grouped convolutions (a unit is a group) and attention (a unit is a head) couple further axes.

    `groups` maps names to `Group`; `fixed` lists what stays as it is, with the reason. The operations return a changed
    copy of the model, or change the model itself with `inplace=True`.

    Entezari et al. 2022 (arXiv:2110.06296), Ainsworth et al. 2023 (arXiv:2209.04836) for permutations; Fang et al. 2023
    (arXiv:2301.12900) for groups that prune together; Chen, Zhou and Yan 2024 for merging.
    """

    def __init__(self, groups: list[Group], fixed: list[Fixed]) -> None:
        self.groups = {group.name: group for group in groups}
        self.fixed = fixed

    @classmethod
    def from_model(cls, model: nn.Module, example: Any, *, confirmed: bool = True, seed: int = 0) -> "CouplingGraph":
        """Run the model once on `example` (an input, or a tuple of inputs) and follow every number through it.

        The operations that run are recorded, whatever the Python around them, so that control flow needs no tracing; a
        branch that does not run leaves its parameters alone. An operation without a rule fixes all units that reach it,
        and `fixed` lists it. With `confirmed=True` every group is tried out: its units are permuted, rescaled, merged
        and cut in a copy with perturbed weights, and what changes the function is withdrawn.

        Raises ValueError for a model with parametrizations or hooks, which would see the units by their old numbers.
        """
        inputs = example if isinstance(example, tuple) else (example,)
        _refuse(model)
        was_training = [m for m in model.modules() if m.training]
        model.eval()
        try:
            trace = Trace(model)
            with torch.no_grad(), Recorder(trace, RULES):
                output = model(*inputs)
            for t in tree_leaves(output):
                labels = trace.get(t) if isinstance(t, Tensor) else None
                if labels is not None:
                    trace.fix(labels, "an output of the model")
                elif trace.is_named(t):
                    trace.fix_parameter(t, "an output of the model")
            groups, fixed = read_groups(trace)
            if confirmed:
                groups, withdrawn = confirm(model, groups, inputs, seed=seed)
                fixed += withdrawn
            return cls(groups, fixed)
        finally:
            for module in was_training:
                module.training = True

    def _group(self, name: str) -> Group:
        if name not in self.groups:
            raise ValueError(f"group: {name!r} is not one; there are {', '.join(self.groups) or 'none'}")
        return self.groups[name]

    def permute(self, model: nn.Module, group: str, order: Tensor, *, inplace: bool = False) -> nn.Module:
        """Unit `u` of the group becomes what unit `order[u]` was; the function stays the same."""
        model = model if inplace else copy.deepcopy(model)
        permute_(model, self._group(group), order)
        return model

    def scale(
        self, model: nn.Module, group: str, factors: Tensor, *, which: int = 0, inplace: bool = False
    ) -> nn.Module:
        """Multiply what writes unit `u` by `factors[u] > 0` and divide what reads it; the function stays the same.

        `which` chooses among the group's `factors` (one for each homogeneous stretch between two normalisations).
        """
        model = model if inplace else copy.deepcopy(model)
        scale_(model, self._group(group), factors, which)
        return model

    def merge(self, model: nn.Module, clusters: Mapping[str, Tensor], *, inplace: bool = False) -> nn.Module:
        """Make one unit of those with the same number in `clusters[group]` (`[size]`); the network gets smaller.

        Writers are averaged and readers summed, so that the function stays the same where the units of a cluster
        compute the same, whatever the activation. The graph describes the model before; make a new one for the result.
        """
        model = model if inplace else copy.deepcopy(model)
        keep = {name: gather_clusters_(model, self._group(name), c) for name, c in clusters.items()}
        slice_(model, keep, self.groups)
        return model

    def slice(self, model: nn.Module, keep: Mapping[str, Tensor], *, inplace: bool = False) -> nn.Module:
        """Keep only the units `keep[group]`; the function stays the same where nobody reads the others."""
        model = model if inplace else copy.deepcopy(model)
        for name in keep:
            self._group(name)
        slice_(model, keep, self.groups)
        return model

    def __str__(self) -> str:
        lines = [str(group) for group in self.groups.values()]
        lines += [f"fixed: {', '.join(f'{n}[axis {a}]' for n, a in f.slots)} ({f.reason})" for f in self.fixed]
        return "\n".join(lines)


def _refuse(model: nn.Module) -> None:
    for name, module in model.named_modules():
        where = f"model: {name or type(module).__name__!r} has"
        if parametrize.is_parametrized(module):
            raise ValueError(f"{where} parametrizations; remove them with torch.nn.utils.parametrize first")
        if any(isinstance(p, nn.parameter.UninitializedParameter) for p in module._parameters.values()):
            raise ValueError(f"{where} lazy parameters; run the model once first")
        if module._forward_hooks or module._forward_pre_hooks:
            raise ValueError(f"{where} hooks, which may change what the graph cannot see; remove them first")
