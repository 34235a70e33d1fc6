"""Molecular frames in the official formats and in the compact ones."""

import numpy as np
import pytest
import torch

from erlangen.data import molecules
from erlangen.data.molecular_frames import EV_PER_KCAL_MOL, molecule_names, read_extended_xyz

FRAME = """3
Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3:forces:R:3 energy={energy} pbc="F F F"
O 0.0 0.0 0.0 0.1 0.2 0.3
H 1.0 0.0 {z} -0.1 0.0 0.0
H 0.0 1.0 0.0 0.0 -0.2 -0.3
"""


def test_extended_xyz_is_read(tmp_path, monkeypatch):
    folder = tmp_path / "botnet_3bpa_acac" / "dataset_3BPA"
    folder.mkdir(parents=True)
    path = folder / "train_300K.xyz"
    path.write_text(FRAME.format(energy=-3.5, z=0.25) + FRAME.format(energy="-3.25e0", z=0.5))
    monkeypatch.setenv("ERLANGEN_DATA", str(tmp_path))
    water = molecules("3bpa/300K")
    assert water.species.tolist() == [8, 1, 1] and len(water) == 2
    assert water.energies.tolist() == [-3.5, -3.25] and water.positions[1, 1].tolist() == [1.0, 0.0, 0.5]
    assert water.forces[0, 2].tolist() == [0.0, -0.2, -0.3] and len(water[:1]) == 1


@pytest.mark.parametrize("broken", [FRAME.format(energy=1, z=0)[:-40], "2\nno energy\nH 0 0 0\nH 0 0 1\n", ""])
def test_damaged_files_say_where(tmp_path, broken):
    path = tmp_path / "x.xyz"
    path.write_text(broken)
    with pytest.raises(ValueError, match=r"x\.xyz: "):
        read_extended_xyz(path)


def test_official_rmd17_layout_is_read(tmp_path, monkeypatch):
    for name in ("npz_data", "splits"):
        (tmp_path / "rmd17" / name).mkdir(parents=True)
    generator = np.random.default_rng(0)
    np.savez(
        tmp_path / "rmd17" / "npz_data" / "rmd17_ethanol.npz",
        nuclear_charges=np.array([6, 1], dtype=np.uint8),
        coords=generator.normal(size=(4, 2, 3)),
        energies=np.arange(4.0),
        forces=generator.normal(size=(4, 2, 3)),
    )
    (tmp_path / "rmd17" / "splits" / "index_test_01.csv").write_text("3\n1\n")
    monkeypatch.setenv("ERLANGEN_DATA", str(tmp_path))
    found = molecules("rmd17/ethanol", "test")
    torch.testing.assert_close(found.energies, torch.tensor([3.0, 1.0], dtype=torch.float64) * EV_PER_KCAL_MOL)


@pytest.mark.parametrize("name", ["rmd17/ethanol", "3bpa/300K", "acac/600K"])
def test_real_frames_are_physical(data_root, name):
    """No net force on a molecule, distances of bonds, and energies of electronvolts in the right thousands."""
    found = molecules(name)
    assert found.forces.sum(1).abs().max() < 0.05 and torch.isfinite(found.energies).all()
    nearest = (torch.cdist(found.positions[:20], found.positions[:20]) + 9 * torch.eye(len(found.species))).amin((1, 2))
    assert (nearest > 0.8).all() and (nearest < 1.2).all()
    assert found.energies.std() < 2.0


def test_bad_names_are_answered(tmp_path, monkeypatch):
    monkeypatch.setenv("ERLANGEN_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="3bpa/300K"):
        molecules("3bpa/310K")
    with pytest.raises(FileNotFoundError, match="figshare"):
        molecules("rmd17/aspirin")
    with pytest.raises(ValueError, match="only 'train'"):
        molecules("3bpa/300K", "test")
    assert "acac/300K" in molecule_names()


def test_springs_push_back():
    from erlangen.data.spring_molecule import REST, spring_molecule

    found = spring_molecule(5, generator=torch.Generator().manual_seed(0))
    assert found.forces.sum(1).abs().max() < 1e-12 and (found.energies > 0).all()
    displaced = found.positions - torch.tensor(REST, dtype=torch.float64)
    assert ((displaced * found.forces).sum((1, 2)) < 0).all()
