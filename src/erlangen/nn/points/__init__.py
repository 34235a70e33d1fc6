"""Layers and models on points in space."""

from erlangen._lazy import lazy_attributes

_HERE = "erlangen.nn.points"
_PUBLIC = {
    "TInv": f"{_HERE}.tinv:TInv",
    "GauntTensorProduct": f"{_HERE}.gaunt_product:GauntTensorProduct",
    "GauntPower": f"{_HERE}.gaunt_power:GauntPower",
    "VectorGauntTensorProduct": f"{_HERE}.vector_gaunt_product:VectorGauntTensorProduct",
    "TensorProduct": f"{_HERE}.tensor_product:TensorProduct",
    "Interatomic": f"{_HERE}.interatomic:Interatomic",
    "Forces": f"{_HERE}.interatomic:Forces",
    "energy_and_forces": f"{_HERE}.interatomic:energy_and_forces",
    "EdgeGauntProduct": f"{_HERE}.edge_product:EdgeGauntProduct",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
