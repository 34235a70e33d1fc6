"""Networks whose weights are made by networks."""

from erlangen._lazy import lazy_attributes

_HERE = "erlangen.nn.hyper"
_PUBLIC = {
    "HyperNet": f"{_HERE}.hyper_net:HyperNet",
    "MagnitudeInvariantEncoding": f"{_HERE}.magnitude_invariant:MagnitudeInvariantEncoding",
    "hypernetize": f"{_HERE}.hyper_net:hypernetize",
    "DynamicHead": f"{_HERE}.dynamic_head:DynamicHead",
    "HyperLinear": f"{_HERE}.hyper_linear:HyperLinear",
    "HyperPredictor": f"{_HERE}.hyper_predictor:HyperPredictor",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
