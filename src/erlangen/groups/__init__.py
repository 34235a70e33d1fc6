"""Groups, representations and actions: the mathematics of symmetry on plain tensors."""

from erlangen._lazy import lazy_attributes

_HERE = "erlangen.groups"
_PUBLIC = {
    "Elem": f"{_HERE}.elements:Elem",
    "Group": f"{_HERE}.base:Group",
    "LieGroup": f"{_HERE}.base:LieGroup",
    "FiniteGroup": f"{_HERE}.base:FiniteGroup",
    "GroupLogError": f"{_HERE}.base:GroupLogError",
    "Cyclic": f"{_HERE}.finite:Cyclic",
    "Dihedral": f"{_HERE}.finite:Dihedral",
    "Symmetric": f"{_HERE}.finite:Symmetric",
    "Octahedral": f"{_HERE}.polyhedral:Octahedral",
    "Tetrahedral": f"{_HERE}.polyhedral:Tetrahedral",
    "Icosahedral": f"{_HERE}.polyhedral:Icosahedral",
    "SO": f"{_HERE}.orthogonal:SO",
    "O": f"{_HERE}.orthogonal:O",
    "SE": f"{_HERE}.affine:SE",
    "E": f"{_HERE}.affine:E",
    "Translation": f"{_HERE}.affine:Translation",
    "Scaling": f"{_HERE}.affine:Scaling",
    "GroupMembershipError": f"{_HERE}.base:GroupMembershipError",
    "GLPlus": f"{_HERE}.linear:GLPlus",
    "SL": f"{_HERE}.linear:SL",
    "U": f"{_HERE}.unitary:U",
    "SU": f"{_HERE}.unitary:SU",
    "Product": f"{_HERE}.product:Product",
    "Rep": f"{_HERE}.representations:Rep",
    "Irreps": f"{_HERE}.irreps:Irreps",
    "irrep": f"{_HERE}.irreps:irrep",
    "inclusion": f"{_HERE}.subgroups:inclusion",
    "character_product": f"{_HERE}.subgroups:character_product",
    "spherical_harmonics": f"{_HERE}.harmonics:spherical_harmonics",
    "wigner_D": f"{_HERE}.harmonics:wigner_D",
    "permutations": f"{_HERE}.permutations",
    "set_partitions": f"{_HERE}.permutations.partitions:set_partitions",
    "contract": f"{_HERE}.permutations.contraction:contract",
    "perm_basis_apply": f"{_HERE}.permutations.contraction:perm_basis_apply",
    "perm_hom_basis": f"{_HERE}.permutations.basis:perm_hom_basis",
    "parse": f"{_HERE}.names:parse",
    "actions": f"{_HERE}.actions",
    "symmetry": f"{_HERE}.symmetry",
    "Symmetry": f"{_HERE}.symmetry:Symmetry",
    "lie": f"{_HERE}.lie",
    "rotations": f"{_HERE}.rotations",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
