"""Molecular dynamics frames with energies and forces from quantum chemistry: revised MD17, 3BPA, acetylacetone."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from erlangen.data.named import roots

EV_PER_KCAL_MOL = 0.0433641
ATOMIC_NUMBERS = {"H": 1, "C": 6, "N": 7, "O": 8}
RMD17 = (
    "aspirin",
    "azobenzene",
    "benzene",
    "ethanol",
    "malonaldehyde",
    "naphthalene",
    "paracetamol",
    "salicylic",
    "toluene",
    "uracil",
)
XYZ = {
    "3bpa/300K": ("dataset_3BPA/train_300K.xyz", None, "3bpa_train_300K.npz", None),
    "3bpa/mixedT": ("dataset_3BPA/train_mixedT.xyz", None, "3bpa_train_mixedT.npz", None),
    "acac/300K": ("dataset_acac/train_300K.xyz", "dataset_acac/test_MD_300K.xyz", "acac_train_300K.npz", "acac_test_MD_300K.npz"),
    "acac/600K": ("dataset_acac/train_600K.xyz", "dataset_acac/test_MD_600K.xyz", "acac_train_600K.npz", "acac_test_MD_600K.npz"),
}  # fmt: skip
OBTAIN = {
    "rmd17": "figshare.com/articles/dataset/12672038 (rmd17.tar.bz2: npz_data/ and splits/), unpacked into one of these",
    "botnet_3bpa_acac": "github.com/davkovacs/BOTNet-datasets (dataset_3BPA/, dataset_acac/), into one of these",
}


@dataclass(frozen=True)
class Molecules:
    """Frames of one molecule, float64: positions in Å, energies in eV, forces in eV / Å."""

    species: Int[Tensor, " atoms"]
    positions: Float[Tensor, "frames atoms 3"]
    energies: Float[Tensor, " frames"]
    forces: Float[Tensor, "frames atoms 3"]

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: Tensor | slice) -> "Molecules":
        return Molecules(self.species, self.positions[index], self.energies[index], self.forces[index])


def molecule_names() -> list[str]:
    """The data sets that `molecules` knows."""
    return sorted([*XYZ, *(f"rmd17/{name}" for name in RMD17)])


def molecules(name: str, split: Literal["train", "test"] = "train") -> Molecules:
    """Frames by name: "rmd17/ethanol", "3bpa/300K", "3bpa/mixedT", "acac/300K", "acac/600K".

    Looked for in $ERLANGEN_DATA and the cache, in the official layout or as compact .npz files; revised MD17 is converted from
    kcal/mol. rMD17 splits are number 01 of its authors, who advise against training on more than 1,000 frames.

    Raises:
        ValueError: no such data set or split; lists them.
        FileNotFoundError: it is nowhere; says where it was looked for and how to get it.

    Sources: Christensen and von Lilienfeld, "On the role of gradients for machine learning of molecular energies and forces",
    2020, arXiv:2007.09593; Kovács et al., "Linear Atomic Cluster Expansion Force Fields for Organic Molecules", 2021; Batatia
    et al., 2022, arXiv:2205.06643.
    """
    if name not in molecule_names():
        raise ValueError(f"name: {name!r}; there are {', '.join(molecule_names())}")
    if split not in ("train", "test"):
        raise ValueError(f"split: {split!r}; allowed are 'train', 'test'")
    return _rmd17(name.partition("/")[2], split) if name.startswith("rmd17/") else _extended_xyz(name, split)


def _rmd17(molecule: str, split: str) -> Molecules:
    for folder in (root / "rmd17" for root in roots()):
        compact = folder / f"{molecule}.npz"
        if compact.is_file():
            with np.load(compact, allow_pickle=False) as arrays:
                keys = [f"{split}_{part}" for part in ("coords", "energies", "forces")]
                return _molecules(arrays["nuclear_charges"], *(arrays[key] for key in keys), unit=EV_PER_KCAL_MOL)
        official = folder / "npz_data" / f"rmd17_{molecule}.npz"
        index = folder / "splits" / f"index_{split}_01.csv"
        if official.is_file() and index.is_file():
            chosen = np.loadtxt(index, dtype=np.int64, ndmin=1)
            with np.load(official, allow_pickle=False) as arrays:
                parts = (arrays[part][chosen] for part in ("coords", "energies", "forces"))
                return _molecules(arrays["nuclear_charges"], *parts, unit=EV_PER_KCAL_MOL)
    raise _absent(f"rmd17/{molecule}", "rmd17")


def _extended_xyz(name: str, split: str) -> Molecules:
    number = 0 if split == "train" else 1
    official, compact = XYZ[name][number], XYZ[name][number + 2]
    if official is None or compact is None:
        raise ValueError(f"split: {name} has only 'train' here; keep some of its frames for testing")
    for folder in (root / "botnet_3bpa_acac" for root in roots()):
        if (folder / compact).is_file():
            with np.load(folder / compact, allow_pickle=False) as arrays:
                return _molecules(*(arrays[k] for k in ("nuclear_charges", "coords", "energies", "forces")), unit=1.0)
        if (folder / official).is_file():
            return read_extended_xyz(folder / official)
    raise _absent(name, "botnet_3bpa_acac")


def read_extended_xyz(path: Path) -> Molecules:
    """Frames of one molecule in the extended XYZ format: `energy=` in the comment, columns species, position, force.

    Raises:
        ValueError: a frame without energy or forces, another molecule, an unknown element, or a file that ends early.
    """
    lines = path.read_text().splitlines()
    frames: list[tuple[list[int], np.ndarray, float]] = []
    at = 0
    while at < len(lines) and lines[at].strip():
        count = int(lines[at])
        energy = re.search(r'\benergy="?([-+.\deE]+)', lines[at + 1] if at + 1 < len(lines) else "")
        rows = [line.split() for line in lines[at + 2 : at + 2 + count]]
        if energy is None or len(rows) < count or "forces:R:3" not in lines[at + 1]:
            raise ValueError(f"{path.name}: line {at + 1}: a frame lacks its energy, its forces or some of its atoms")
        first = _column(lines[at + 1], "forces")
        unknown = {row[0] for row in rows} - set(ATOMIC_NUMBERS)
        if unknown:
            raise ValueError(
                f"{path.name}: line {at + 1}: elements {sorted(unknown)}; known are {list(ATOMIC_NUMBERS)}"
            )
        numbers = np.array([[*row[1:4], *row[first : first + 3]] for row in rows], dtype=np.float64)
        frames.append(([ATOMIC_NUMBERS[row[0]] for row in rows], numbers, float(energy[1])))
        at += 2 + count
    if not frames or any(kinds != frames[0][0] for kinds, _, _ in frames):
        raise ValueError(f"{path.name}: holds no frame, or frames of several molecules")
    stacked = np.stack([numbers for _, numbers, _ in frames])
    energies = np.array([energy for _, _, energy in frames])
    return _molecules(np.array(frames[0][0]), stacked[..., :3], energies, stacked[..., 3:], unit=1.0)


def _column(comment: str, wanted: str) -> int:
    """The first column of a property, from `Properties=species:S:1:pos:R:3:...`."""
    found = re.search(r"Properties=(\S+)", comment)
    start = 0
    fields = found[1].split(":") if found else []
    for name, width in zip(fields[::3], fields[2::3], strict=True):
        if name == wanted:
            return start
        start += int(width)
    return start


def _molecules(
    charges: np.ndarray, coords: np.ndarray, energies: np.ndarray, forces: np.ndarray, *, unit: float
) -> Molecules:
    arrays = [torch.from_numpy(np.asarray(a, dtype=np.float64)) for a in (coords, energies, forces)]
    return Molecules(
        torch.from_numpy(charges.astype(np.int64)), arrays[0], arrays[1].flatten() * unit, arrays[2] * unit
    )


def _absent(name: str, folder: str) -> FileNotFoundError:
    places = " or ".join(str(root / folder) for root in roots())
    return FileNotFoundError(f"data: {name!r} is not in {places}; to get it: {OBTAIN[folder]}")
