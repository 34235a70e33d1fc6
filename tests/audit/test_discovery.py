"""Planted truths are told: symmetries that hold, hold partly, do not hold, and data that cannot tell."""

import math

import numpy as np
import pytest
import torch

import erlangen as er
from erlangen.audit.discovery import discover
from erlangen.audit.discovery_data import read_samples
from erlangen.audit.discovery_moves import Mover, _warp, canvas
from erlangen.audit.discovery_twins import no_symmetry_target
from erlangen.groups import parse
from erlangen.groups.actions import Image


def vectors(count: int = 400, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 2, 3, generator=torch.Generator().manual_seed(seed))


def dots(x: torch.Tensor) -> torch.Tensor:
    return (x[:, 0] * x[:, 1]).sum(1) + x[:, 1].square().sum(1)


def images(turned: bool, count: int = 400, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two kinds of bright wedges, upright or turned by any quarter."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(2, (count,), generator=generator)
    x = 0.2 * torch.rand(count, 1, 10, 10, generator=generator)
    x[:, :, 2:5, 2:4] += 1.0
    x[label == 1, :, 2:4, 4:8] += 1.0
    if turned:
        x = Image(parse("C4"))(parse("C4").sample(count, generator=generator), x)
    return x, label


def test_an_invariant_target_has_the_rotations_exactly_and_not_the_scalings():
    x = vectors()
    found = discover((x.flatten(1), dots(x)), groups=["SO(3)", "O(3)", "Scaling"])
    assert found["SO(3)"].verdict == found["O(3)"].verdict == "exact"
    assert found["Scaling"].verdict != "exact"
    assert found["SO(3)"].lost.high < 0.05 < 0.5 < found["SO(3)"].broken.low
    assert found.symmetry == "O(3)" and "O(3)" in found.command and found.task == "regression"


def test_a_target_with_a_preferred_direction_has_them_partly_and_says_how_much():
    x = vectors()
    holds = []
    for strength in (0.0, 0.6, 6.0):
        found = discover((x.flatten(1), dots(x) + strength * x[:, 0, 2]), groups=["O(3)"])
        holds.append(found["O(3)"])
    assert [h.verdict for h in holds] == ["exact", "approximate", "not at all"]
    assert holds[0].holds.low > holds[1].holds.high > holds[1].holds.low > holds[2].holds.high


def test_a_pseudoscalar_has_rotations_but_not_reflections():
    x = torch.randn(700, 3, 3, generator=torch.Generator().manual_seed(0))
    triple = (x[:, 0] * torch.linalg.cross(x[:, 1], x[:, 2])).sum(1)
    target = triple / (1 + triple.abs())
    found = discover((x.flatten(1), target), groups=["SO(3)", "O(3)"])
    assert found["O(3)"].lost.low > found["SO(3)"].lost.high + 0.3
    assert found["O(3)"].verdict == "not at all" and math.isnan(found["O(3)"].planted.value)
    assert found["O(3)"].holds.high < 0.3 < 0.7 < found["SO(3)"].holds.low and found.symmetry != "O(3)"


def test_targets_that_move_with_the_inputs():
    x = vectors()
    y = x[:, 0] + 2 * x[:, 1]
    assert discover((x.flatten(1), y), groups=["O(3)"], output="vectors")["O(3)"].verdict == "exact"
    assert discover((x.flatten(1), y), groups=["O(3)"])["O(3)"].verdict == "not at all"
    assert discover((x.flatten(1), y), groups=["O(3)"], input="2x1o", output="1x1o")["O(3)"].verdict == "exact"


def test_images_upright_and_turned():
    turned = discover(images(True, 240), groups=["C4"])
    upright = discover(images(False, 240), groups=["C4", "SO(2)"])
    assert turned["C4"].verdict == "exact" and turned["C4"].told_apart.low < 0.5
    assert "--symmetry C4 --encoder group_cnn" in turned.command
    assert upright["C4"].verdict == "not at all" and upright["C4"].told_apart.low > 0.9
    assert upright.symmetry is None and "plain_cnn" in upright.command
    assert set(upright["C4"].by_element) == {"90°", "180°", "270°"}
    assert upright["SO(2)"].verdict == "not at all"


def test_noise_cannot_tell():
    x, label = images(True)
    shuffled = label[torch.randperm(len(label), generator=torch.Generator().manual_seed(1))]
    found = discover((x, shuffled), groups=["C4"])
    assert found["C4"].verdict == "cannot tell" and "cannot be predicted" in found["C4"].why
    assert found.symmetry is None


def test_inputs_alone():
    x = vectors()
    shifted = x + torch.tensor([2.0, 0, 0])
    assert discover(x.flatten(1), groups=["O(3)"])["O(3)"].verdict == "exact"
    reading = discover(shifted.flatten(1), groups=["O(3)"])["O(3)"]
    assert reading.verdict == "not at all" and math.isnan(reading.lost.value)


def test_the_same_seed_gives_the_same_answer_and_the_public_name_works():
    x = vectors(200)
    first, second = (er.discover((x.flatten(1), dots(x)), groups="SO(3), Scaling").to_dict() for _ in range(2))
    assert first == second and [r["group"] for r in first["readings"]] == ["SO(3)", "Scaling"]


def test_moving_and_resting_differ_by_the_motion_alone():
    """Resting images are resampled like moved ones, so a symmetric image is told apart by nothing."""
    x, _ = images(False, 64)
    mover = Mover("SO(2)", "image", x)
    generator = torch.Generator().manual_seed(0)
    identity = parse("SO(2)").identity((64,))
    again = torch.Generator().manual_seed(0)
    torch.testing.assert_close(mover.rest(x, generator), mover.moved(x, identity, again), atol=1e-6, rtol=0)
    exact = Mover("D4", "image", x)
    assert exact.exact and exact.rest(x, generator) is x
    drawn = exact.draw(500, generator)
    assert int(exact.group.index(drawn).min()) > 0


def test_a_turn_is_the_turn_of_the_image_action():
    x, _ = images(False, 8)
    smooth = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(x, (4, 4, 4, 4)), 5, 1)
    mover = Mover("SO(2)", "image", smooth)
    g = parse("SO(2)").sample(8, generator=torch.Generator().manual_seed(0))

    ours = _warp(smooth, g, torch.zeros(8, 2))
    theirs = Image(parse("SO(2)"))(g, smooth)
    side = smooth.shape[-1]
    at = torch.arange(side) - (side - 1) / 2
    inner = (at[:, None].square() + at.square()).sqrt() < side / 2 - 2
    torch.testing.assert_close(ours[..., inner], theirs[..., inner], atol=1e-5, rtol=0)
    assert mover.moved(smooth, g, torch.Generator().manual_seed(0)).shape == smooth.shape


def test_a_plain_background_is_widened_and_a_busy_one_is_not():
    x, _ = images(False, 4)
    assert canvas((x > 0.9).float()).shape[-1] == 14
    assert canvas(x.flip(0) * 0 + torch.rand(4, 1, 10, 10)).shape[-1] == 10


def test_a_target_without_symmetry_follows_what_the_motion_changes():
    """Two features, of which the motion turns the sign of the second: the target is a function of the second."""
    x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 1.0])
    target = no_symmetry_target(x, x * torch.tensor([1.0, -1.0]), 0, torch.Generator().manual_seed(0))
    assert no_symmetry_target(x, -x, 3, torch.Generator().manual_seed(0)).max() == 2
    both = torch.stack([target[:, 0], x[:, 0], x[:, 1]]).corrcoef()[0].abs()
    assert float(both[2]) > 0.9


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_files_with_numbers_as_targets(tmp_path, suffix):
    x = vectors(120).flatten(1).numpy()
    y = x[:, 0] + 0.5
    path = tmp_path / f"data{suffix}"
    if suffix == ".npz":
        np.savez(path, x=x, y=y)
    else:
        np.savetxt(path, np.column_stack([x, y]), delimiter=",", header="a,b,c,d,e,f,y", comments="")
    found = read_samples(str(path))
    assert found.task == "regression" and found.x.shape == (120, 6) and found.type == "vectors"


def test_bad_input():
    x = vectors(100).flatten(1)
    y = x[:, 0]
    with pytest.raises(ValueError, match="at least 60"):
        discover((x[:20], y[:20]))
    with pytest.raises(ValueError, match="NaN"):
        discover((torch.full_like(x, math.nan), y))
    with pytest.raises(ValueError, match="same target"):
        discover((x, y * 0), task="regression")
    with pytest.raises(ValueError, match="same class"):
        discover((x, (y * 0).long()))
    with pytest.raises(ValueError, match="90 targets for 100 samples"):
        discover((x, y[:90]))
    with pytest.raises(ValueError, match="no multiple"):
        discover((x[:, :5], y), groups=["SO(3)"])
    with pytest.raises(ValueError, match="unknown"):
        discover((x, y), groups=["Q8"])
    with pytest.raises(ValueError, match="moves nothing"):
        discover((x, y), groups=["C1"])
    with pytest.raises(ValueError, match="tolerance"):
        discover((x, y), tolerance=2.0)
    with pytest.raises(ValueError, match="needs targets"):
        discover(x, task="classification")
    with pytest.raises(KeyError, match="not among the candidates"):
        discover(x, groups=["SO(3)"])["O(3)"]
