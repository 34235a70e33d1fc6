"""Real spherical harmonics and Wigner D matrices in e3nn's basis, couplings of degrees, and grids that integrate them."""

from erlangen._lazy import lazy_attributes

_HERE = "erlangen.groups.harmonics"
_PUBLIC = {
    "Normalization": f"{_HERE}.spherical:Normalization",
    "spherical_harmonics": f"{_HERE}.spherical:spherical_harmonics",
    "sphere_quadrature": f"{_HERE}.spherical:sphere_quadrature",
    "lifting": f"{_HERE}.wigner:lifting",
    "wigner_D": f"{_HERE}.wigner:wigner_D",
    "wigner_D_all": f"{_HERE}.wigner:wigner_D_all",
    "wigner_D_from_angles": f"{_HERE}.wigner:wigner_D_from_angles",
    "wigner_3j": f"{_HERE}.clebsch_gordan:wigner_3j",
    "clebsch_gordan": f"{_HERE}.clebsch_gordan:clebsch_gordan",
    "gaunt_coefficients": f"{_HERE}.gaunt:gaunt_coefficients",
    "bracket_coefficients": f"{_HERE}.gaunt:bracket_coefficients",
    "S2Grid": f"{_HERE}.sphere_grid:S2Grid",
    "SO3Grid": f"{_HERE}.rotation_grid:SO3Grid",
    "circular_harmonics": f"{_HERE}.circular:circular_harmonics",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
