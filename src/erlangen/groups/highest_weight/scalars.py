"""Labels of a weight: exact numbers or symbols, never floating point."""

from fractions import Fraction
from numbers import Integral, Number, Rational
from typing import Any


def exact(value: Any, place: int) -> Any:
    """An int where the label is an integer, a Fraction where it is rational, the symbol itself otherwise.

    Raises TypeError for floating-point and complex numbers and for what is not a number or symbol.
    """
    if isinstance(value, bool):
        raise TypeError(f"weight: label {place} is a bool; expected an int, a Fraction or a symbol")
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Rational):
        return _shorten(Fraction(value))
    if getattr(value, "is_Rational", False):  # sympy's numbers
        return _shorten(Fraction(int(value.p), int(value.q)))
    if isinstance(value, Number) or getattr(value, "is_Float", False):
        raise TypeError(
            f"weight: label {place} is {value!r}, a {type(value).__name__}; expected an int, a Fraction or a symbol, "
            "because faces depend on whether a label is exactly an integer"
        )
    if not hasattr(value, "free_symbols"):
        raise TypeError(f"weight: label {place} is a {type(value).__name__}; expected an int, a Fraction or a symbol")
    return value


def _shorten(value: Fraction) -> int | Fraction:
    return int(value) if value.denominator == 1 else value


def is_dominant_integral(value: Any) -> bool:
    """Whether a label is an integer of at least 0; a symbol is not."""
    return isinstance(value, int) and value >= 0
