"""Localisation: the module whose hull is the tangent cone at a face, in the cases where that is settled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from erlangen.groups.highest_weight.module import HighestWeightModule


class UnsettledError(ValueError):
    """No statement is known to be right here, so none is made."""


def vertex_localization(module: HighestWeightModule) -> HighestWeightModule:
    """The tangent cone at λ is conv M(λ, I_V ∩ J_max(∅)): induced from the inactive nodes."""
    from erlangen.groups.highest_weight.module import HighestWeightModule

    kept = module.integrable & module.j_max(())
    return HighestWeightModule(module.cartan, module.weight, integrable=kept)


def localize(module: HighestWeightModule, nodes: Iterable[int]) -> HighestWeightModule:
    """M(λ, I_V ∩ J) where every node is active; the vertex localisation where wt_J = {λ}.

    For a singular λ along a larger face the same reading disagrees with brute force (A2, λ = (1, 0), J = {first node}),
    so it is refused.
    """
    from erlangen.groups.highest_weight.module import HighestWeightModule

    chosen = module.cartan.check_nodes(nodes, "J")
    if module.active == module.cartan.nodes:
        return HighestWeightModule(module.cartan, module.weight, integrable=module.integrable & chosen)
    if not module.j_min(chosen):
        return vertex_localization(module)
    raise UnsettledError(
        f"J: localisation along conv wt_{sorted(chosen)} is not settled for the singular weight {module.weight} of "
        f"{module.cartan.name} (label 0 at the nodes {sorted(module.cartan.nodes - module.active)}); "
        "vertex_localization() and tangent_cone(J) are"
    )
