"""How many different features the layers of a network really have, told by its weights."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from erlangen.nn.parameter_symmetry.coupling_graph import CouplingGraph
from erlangen.nn.parameter_symmetry.iterative_merging import plan_merges

BETAS = (0.0, 0.1, 0.3)


def feature_complexity(
    model: nn.Module, example_input: Any, *, beta: float | Sequence[float] = 0.1, graph: CouplingGraph | None = None
) -> dict[str, list[int]]:
    """The number of distinct features of every group of coupled units, at each tolerance `beta`.

    Two units count once when iterative feature merging makes them one; `{group: [width, count at beta_1, ...]}`. At
    `beta=0` this is the number of units that are not exactly equal to another. No data are used.

    Arguments:
        example_input: an input, or a tuple of inputs, for following the units through the network.
        graph: the model's `CouplingGraph`, where it is there already.

    Raises ValueError as `CouplingGraph.from_model` and `plan_merges` do.

    Chen, Zhou and Yan, "Going Beyond Neural Network Feature Similarity: the Network Feature Complexity and its
    Interpretation", ICLR 2024.
    """
    betas = [float(beta)] if isinstance(beta, (int, float)) else [float(b) for b in beta]
    graph = graph or CouplingGraph.from_model(model, example_input)
    plans = [plan_merges(model, graph, beta=b, compare="writes" if b == 0 else "all").widths() for b in betas]
    first = plans[0] if plans else {}
    return {name: [first[name][0], *(plan[name][1] for plan in plans)] for name in first}
