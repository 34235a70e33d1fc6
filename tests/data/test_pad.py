"""A canvas around images, and the record of what was loaded."""

import math

import numpy as np
import pytest
import torch

from erlangen import data
from erlangen.groups import parse
from erlangen.groups.actions import Image


def test_a_padded_image_keeps_its_mass_when_turned_by_45_degrees():
    turn = Image(parse("C8"))
    bright = (torch.ones(4, 1, 8, 8), torch.zeros(4))
    mass = {}
    for pad in (0, 3):
        x, _ = data.load(bright, pad=pad).tensors()
        mass[pad] = float(turn(torch.tensor(1), x).sum() / x.sum())
    octagon = 2 * (math.sqrt(2) - 1)  # the share of a square that its copy turned by 45 degrees covers
    assert mass[0] == pytest.approx(octagon, abs=0.08)
    assert mass[3] == pytest.approx(1, abs=0.04)


def test_padding_adds_zeros_and_keeps_the_rest():
    plain, padded = data.load("digits"), data.load("digits", pad=2)
    assert padded.sample_shape == (1, 12, 12)
    assert torch.equal(padded.x[..., 2:-2, 2:-2], plain.x)
    assert padded.x.float().sum() == plain.x.float().sum()
    assert torch.equal(padded.label, plain.label)
    assert torch.equal(padded.splits["test"], plain.splits["test"])


def test_the_origin_of_a_data_set_loads_it_again(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", x=rng.random((20, 1, 6, 6), dtype=np.float32), y=np.arange(20) % 2)
    monkeypatch.chdir(tmp_path)
    first = data.load("mine.npz", image_size=5, pad=1, seed=3)
    monkeypatch.chdir("/")
    again = data.load(**first.origin)
    assert again.fingerprint() == first.fingerprint()
    assert torch.equal(again.splits["test"], first.splits["test"])


@pytest.mark.parametrize(("given", "words"), [({"pad": -1}, "pad: -1"), ({"pad": 1}, "holds vectors")])
def test_padding_that_makes_no_sense_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        data.load((torch.randn(8, 3), torch.arange(8) % 2), **given)
