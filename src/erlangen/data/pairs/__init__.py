"""Pairs of samples that belong together: a graph of them, what follows from it, and draws from it."""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "PairGraph": "erlangen.data.pairs.pair_graph:PairGraph",
    "chain": "erlangen.data.pairs.closure:chain",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
