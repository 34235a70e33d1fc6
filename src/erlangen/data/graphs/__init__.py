"""Graphs: ego-networks, generated families with known answers, hard pairs, and the TU collections."""

from erlangen._lazy import lazy_attributes

_HERE = "erlangen.data.graphs"
_PUBLIC = {
    "EgoBatch": f"{_HERE}.ego:EgoBatch",
    "ego_networks": f"{_HERE}.ego:ego_networks",
    "whole_graphs": f"{_HERE}.ego:whole_graphs",
    "GraphFamily": f"{_HERE}.families:GraphFamily",
    "named_graph": f"{_HERE}.families:named_graph",
    "weighted_families": f"{_HERE}.families:weighted_families",
    "eccentricity": f"{_HERE}.families:eccentricity",
    "circular_skip_link": f"{_HERE}.hard_pairs:circular_skip_link",
    "csl_graphs": f"{_HERE}.hard_pairs:csl_graphs",
    "covering_pair": f"{_HERE}.hard_pairs:covering_pair",
    "rook_graph": f"{_HERE}.strongly_regular:rook_graph",
    "shrikhande_graph": f"{_HERE}.strongly_regular:shrikhande_graph",
    "latin_square_graph": f"{_HERE}.strongly_regular:latin_square_graph",
    "paley_graph": f"{_HERE}.strongly_regular:paley_graph",
    "strongly_regular_25": f"{_HERE}.strongly_regular:strongly_regular_25",
    "tu_graphs": f"{_HERE}.tu:tu_graphs",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
