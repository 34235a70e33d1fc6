"""Causes of a break under permutations of rows, points or nodes."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch

from erlangen.testing import leaves
from erlangen.testing.causes import ablate
from erlangen.testing.causes.lab import Lab, own_tensors
from erlangen.testing.causes.points import signs, wrong_side
from erlangen.testing.locate import permutation_part
from erlangen.testing.runner import Runner

IN_ORDER = ("LSTM", "GRU", "RNN", "Conv")


def inverse_permutation(lab: Lab) -> str | None:
    if wrong_side(lab):
        return "the wrong side: the output moves with the inverse permutation (x[p] where x[argsort(p)] is meant)"
    return None


def recurrent(lab: Lab) -> str | None:
    """Does the first breaking layer read its input in order?"""
    kind = (lab.result.first_breaking or "").partition("(")[2].rstrip(")")
    if kind.startswith(IN_ORDER) and "GCN" not in kind and not _on_graphs(lab):
        return f"the layer {kind.split(' ')[0]} reads the elements in order (recurrent or convolutional over the rows)"
    return None


def flattened(lab: Lab) -> str | None:
    """Does the first breaking layer take all rows as one vector?"""
    name, _, kind = (lab.result.first_breaking or "").partition(" (")
    permutations = [_permutation(lab, d.g) for d in lab.picks]
    if not kind.startswith("Linear") or not permutations or any(p is None for p in permutations):
        return None
    n = len(permutations[0])  # type: ignore[arg-type]
    modules = {k: m for root in lab.runner.modules for k, m in root.named_modules()}
    width = getattr(modules.get("" if name == "the model" else name), "in_features", 0)
    if width > n and width % n == 0 and not any(width in leaf.shape for leaf in leaves.all_leaves(lab.base)):
        return f"the rows are flattened into {name}, which depends on the order of the rows; pool over them"
    return None


def _on_graphs(lab: Lab) -> bool:
    return any(leaves.is_graph(a) for a in lab.session.args) or any(
        not leaf.is_floating_point() and leaf.dim() == 2 and leaf.shape[0] == 2 for leaf in leaves.all_leaves(lab.base)
    )


def cap(lab: Lab) -> str | None:
    """Does the break vanish when no limit on the number of neighbours is in force?"""
    words = "a cap on the number of neighbours keeps the first in the order of the rows; raise the cap"
    sizes = [leaf.shape[0] for leaf in leaves.all_leaves(lab.base) if leaf.dim()]
    if lab.heals(lambda twin: ablate.without_cap(twin, 4 * max(sizes, default=1))):
        return words
    if lab.symmetry.is_user_written or not _has_points(lab):
        return None
    for factor in (1.5, 2.0, 3.0):
        if lab.heals(args=leaves.map_leaves(functools.partial(_spread, factor), lab.session.args)):
            return words
    return None


def _spread(factor: float, leaf: Any) -> Any:
    return factor * leaf if leaves.is_plain(leaf) and leaf.shape[-1] == 3 else leaf


def _has_points(lab: Lab) -> bool:
    return any(leaves.is_plain(t) and t.dim() >= 2 and t.shape[-1] == 3 for t in leaves.all_leaves(lab.base))


def positions(lab: Lab) -> str | None:
    """Does the break vanish when one of the model's own tensors is permuted along?"""
    permutations = [_permutation(lab, d.g) for d in lab.picks]
    if not lab.picks or any(p is None for p in permutations):
        return None
    n = len(permutations[0])  # type: ignore[arg-type]
    candidates = [(k, name, t) for k, name, t in own_tensors(lab.runner) if n in t.shape]
    for kind, name, tensor in candidates[:8]:
        axes = [a for a in range(tensor.dim()) if tensor.shape[a] == n]
        for chosen in [[a] for a in axes] + ([axes] if len(axes) > 1 else []):
            errors = [
                lab.error_with(_permuting(name, chosen, p), draws=[d]) if p is not None else math.inf
                for d, p in zip(lab.picks, permutations, strict=True)
            ]
            if errors and max(errors) <= lab.tolerance:
                if "weight" in name.rpartition(".")[2] and tensor.dim() >= 2:
                    return f"the rows are flattened into {name}, which depends on the order of the rows; pool over them"
                return f"positions: {kind} {name} is tied to the order of the rows; permuted along, the break is gone"
    return None


def _permutation(lab: Lab, g: Any) -> torch.Tensor | None:
    found = None if lab.symmetry.is_user_written else permutation_part(lab.symmetry.group, g)
    if found is None and isinstance(g, torch.Tensor) and g.dim() == 1 and not g.is_floating_point():
        found = g
    return found


def _permuting(name: str, axes: list[int], permutation: torch.Tensor) -> Any:
    from erlangen.testing.causes.points import after_the_first_call

    order = torch.argsort(permutation)

    def change(runner: Runner) -> None:
        tensor = next(t for _, n, t in own_tensors(runner) if n == name)
        moved = tensor.detach()
        for axis in axes:
            moved = moved.index_select(axis, order)
        after_the_first_call(runner, lambda: tensor.copy_(moved))

    return change


def order(lab: Lab) -> str | None:
    return "something depends on the order of the rows (positions, flattening, first or last element, capped ties)"


ROWS = (inverse_permutation, recurrent, positions, flattened, cap, signs, order)
