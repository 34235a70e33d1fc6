"""Frames: for every input a small set of weighted group elements that moves with the input, `F(g·x) = g F(x)`.

Averaging a function over a frame makes it symmetric without averaging over the group: Frame Averaging for Invariant
and Equivariant Network Design (Puny, Atzmon, Ben-Hamu, Misra, Grover, Smith, Lipman, 2022, arXiv 2110.03336).
"""

from erlangen._lazy import lazy_attributes

_HERE = "erlangen.groups.frames"
_PUBLIC = {
    "Frame": f"{_HERE}.base:Frame",
    "FrameBatch": f"{_HERE}.base:FrameBatch",
    "OnDegenerate": f"{_HERE}.base:OnDegenerate",
    "ReynoldsFrame": f"{_HERE}.reynolds:ReynoldsFrame",
    "PCAFrame": f"{_HERE}.pca:PCAFrame",
    "MDSFrame": f"{_HERE}.mds:MDSFrame",
    "WeightedFrame": f"{_HERE}.weighted:WeightedFrame",
    "SortFrame": f"{_HERE}.sort:SortFrame",
    "LaplacianFrame": f"{_HERE}.laplacian:LaplacianFrame",
    "StochasticFrame": f"{_HERE}.stochastic:StochasticFrame",
    "MinimalFrame": f"{_HERE}.minimal:MinimalFrame",
    "classical_mds": f"{_HERE}.multidimensional_scaling:classical_mds",
    "eigh_safe": f"{_HERE}.eigenvectors:eigh_safe",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
