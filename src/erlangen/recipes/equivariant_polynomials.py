"""Equivariant polynomials: six edges separate strongly regular graphs, five do not; what each architecture can compute."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from erlangen.audit import polynomial_expressivity
from erlangen.data.graphs import rook_graph, shrikhande_graph, strongly_regular_25
from erlangen.groups.graph_polynomials import PolynomialPlan
from erlangen.nn.graphs import PPGN, Multigraph, PPGNPlusPlus, TensorizedGNN, equivariant_polynomial, multigraphs
from erlangen.recipes.claim import Claim
from erlangen.recipes.image_probe import seeded
from erlangen.recipes.recipe import Budget, recipe

K4 = Multigraph(4, list(itertools.combinations(range(4), 2)))
DEGREES = {"smoke": 6, "laptop": 7, "full": 8}


@recipe(
    "equivariant_polynomials",
    title="Equivariant polynomials: what five edges cannot see and six can",
    source="arXiv:2302.11556",
    claims=[
        Claim("K4 separates the rook's graph from the Shrikhande graph", "rook.k4", "above", 0.1),
        Claim("degree 6 and more separates most pairs of SR(25, 12, 5, 6)", "sr25.high", "above", 0.5),
        Claim("PPGN++ computes every simple H up to degree 5", "edge.degree", "above", 4.5),
        Claim("PPGN++ misses K4, of degree 6", "edge.first_miss", "above", 5.5),
        Claim("message passing misses the triangle, of degree 3", "node.first_miss", "below", 3.5),
        Claim("PPGN++ with K4 as a feature separates the pair", "ppgn++6.gap", "above", 1e-3),
        Claim("no connected H of at most 5 edges separates the pair", "rook.low", "below", 1e-9, control=True),
        Claim("nor any pair of SR(25, 12, 5, 6)", "sr25.low", "below", 1e-9, control=True),
        Claim("PPGN alone does not separate the pair", "ppgn.gap", "below", 1e-9, control=True),
        Claim("PPGN++ alone does not separate the pair", "ppgn++.gap", "below", 1e-9, control=True),
    ],
    uses=[
        "erlangen.groups.graph_polynomials",
        "erlangen.groups.multigraphs",
        "erlangen.nn.graphs.ppgn",
        "erlangen.audit.expressivity",
        "erlangen.data.graphs.strongly_regular",
    ],
    laptop_seeds=3,
    explanation=(
        "Graphs are renamed at random and networks are drawn at random from the seed. `rook.*` is the largest relative "
        "difference of P_H between the two SR(16, 6, 2, 2); `sr25.*` the share of the ten pairs of our five SR(25, 12, 5, 6) "
        "(of the fifteen that exist) that some H tells apart; `gap` the largest relative difference of a network's outputs in float64. The "
        "paper's ZINC errors need ZINC, which is not at hand."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Polynomials of renamed graphs, random networks on them, and the search over contraction banks."""
    generator = torch.Generator().manual_seed(seed)
    pair = torch.stack([_renamed(g, generator) for g in (rook_graph(), shrikhande_graph())]).double()
    family = torch.stack([_renamed(g, generator) for g in strongly_regular_25()]).double()
    every = multigraphs(DEGREES[budget], 0, simple=True, directed=False, connected=True)
    low, high = [h for h in every if h.degree <= 5], [h for h in every if h.degree > 5]
    copies = equivariant_polynomial(K4, injective=True)(pair) / 24
    numbers = {
        "rook.low": float(_spread(low, pair).amax()),
        "rook.k4": float(_spread([K4], pair).amax()),
        "rook.copies": float(copies[0]),
        "shrikhande.copies": float(copies[1]),
        "sr25.low": _separated(low, family),
        "sr25.high": _separated(high, family),
    }
    for name, bank in (("node", "gin"), ("edge", "ppgn++")):
        found = polynomial_expressivity(bank, 6)
        assert found.first_miss is not None
        numbers |= {f"{name}.degree": float(found.degree), f"{name}.first_miss": float(found.first_miss.degree)}
    networks = {
        "tensorized": seeded(lambda: TensorizedGNN(2, 8), seed),
        "ppgn": seeded(lambda: PPGN(1, 8, 4), seed),
        "ppgn++": seeded(lambda: PPGNPlusPlus(1, 8, 4), seed),
        "ppgn++6": seeded(lambda: PPGNPlusPlus(1, 8, 4, polynomials=[K4]), seed),
    }
    for name, network in networks.items():
        with torch.inference_mode():
            one, two = network.double()(pair)
        numbers[f"{name}.gap"] = float((one - two).abs().amax() / one.abs().amax())
    return numbers


def _renamed(adjacency: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.randperm(len(adjacency), generator=generator)
    return adjacency[order][:, order]


def _spread(graphs: list[Multigraph], x: Tensor) -> Tensor:
    """Relative differences of every P_H between all pairs of graphs, `[H, graphs, graphs]`."""
    values = torch.stack(PolynomialPlan(graphs, symmetric=True)(x[:, None]))
    return (values[:, :, None] - values[:, None]).abs() / values.abs().amax(1)[:, None, None].clamp(min=1)


def _separated(graphs: list[Multigraph], x: Tensor) -> float:
    """The share of pairs that some H tells apart."""
    apart = (_spread(graphs, x) > 1e-9).any(0)
    n = len(x)
    return float(apart.triu(1).sum()) / (n * (n - 1) / 2)
