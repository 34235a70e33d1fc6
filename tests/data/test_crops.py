"""Crops: what every view keeps, and what the arguments promise."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.data import Crops

PLAIN = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "grayscale": 0.0, "blur": 0.0, "flip": 0.0}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=5, c=3, height=12, width=12, dtype=torch.float64):
    return torch.rand(n, c, height, width, generator=generator(9), dtype=dtype)


@settings(max_examples=15, deadline=None)
@given(
    channels=st.sampled_from([1, 2, 3, 13]),
    size=st.sampled_from([None, 7]),
    crops=st.integers(1, 3),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 99),
)
def test_shapes_types_and_the_same_draws_give_the_same_views(channels, size, crops, dtype, seed):
    x = images(c=channels, height=10, width=14, dtype=dtype)
    views = Crops(size, crops=crops)
    one, two, g = views(x, generator(seed))
    again = views(x, generator(seed))
    side = (10, 14) if size is None else (7, 7)
    assert g is None and one.shape == (5, channels, *side) and one.dtype == two.dtype == dtype
    assert two.shape == ((5, channels, *side) if crops == 1 else (5, crops, channels, *side))
    assert torch.equal(one, again[0]) and torch.equal(two, again[1])
    assert not torch.equal(one, two if crops == 1 else two[:, 0])


def test_without_any_change_a_view_is_the_image():
    x = images()
    one, two, _ = Crops(area=(1.0, 1.0), ratio=(1.0, 1.0), **PLAIN)(x, generator())
    assert torch.allclose(one, x, atol=1e-12) and torch.allclose(two, x, atol=1e-12)
    mirrored = Crops(area=(1.0, 1.0), ratio=(1.0, 1.0), **{**PLAIN, "flip": 1.0})(x, generator())[0]
    assert torch.allclose(mirrored, x.flip(-1), atol=1e-12)


@settings(max_examples=10, deadline=None)
@given(low=st.floats(0.1, 0.9), seed=st.integers(0, 99))
def test_a_crop_shows_the_stated_share(low, seed):
    """On an image whose values are its coordinates, the range of values of a crop is its size."""
    line = torch.linspace(0, 1, 64, dtype=torch.float64)
    x = torch.stack([line.expand(64, 64), line[:, None].expand(64, 64)])[None].repeat(20, 1, 1, 1)
    one = Crops(64, area=(low, low), ratio=(1.0, 1.0), **PLAIN)(x, generator(seed))[0]
    side = one.amax((-2, -1)) - one.amin((-2, -1))
    assert torch.allclose(side, torch.full_like(side, low**0.5), atol=0.05)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), channels=st.sampled_from([2, 3, 5]))
def test_grey_and_constant_images_stay_grey_and_constant(seed, channels):
    grey = images(c=1).expand(-1, channels, -1, -1)
    hue = 0.2 if channels == 3 else 0.0
    one = Crops(hue=hue)(grey, generator(seed))[0]
    assert torch.allclose(one, one[:, :1].expand_as(one), atol=1e-12)
    constant = torch.full((4, channels, 8, 8), 0.3, dtype=torch.float64)
    two = Crops(hue=hue)(constant, generator(seed))[1]
    assert torch.allclose(two, two[..., :1, :1].expand_as(two), atol=1e-12)


def test_grayscale_makes_grey_and_blur_takes_contrast_away():
    x = images(n=8)
    grey = Crops(area=(1.0, 1.0), ratio=(1.0, 1.0), **{**PLAIN, "grayscale": 1.0})(x, generator())[0]
    assert torch.allclose(grey[:, 0], grey[:, 2]) and not torch.allclose(x[:, 0], x[:, 2])
    blurred = Crops(area=(1.0, 1.0), ratio=(1.0, 1.0), sigma=(1.0, 1.0), **{**PLAIN, "blur": 1.0})(x, generator())[0]
    assert blurred.std() < 0.5 * x.std()


def test_the_blur_is_the_gaussian_of_scipy():
    from scipy.ndimage import gaussian_filter

    x = images(n=1, c=1, height=16, width=16)
    blurred = Crops(area=(1.0, 1.0), ratio=(1.0, 1.0), sigma=(1.0, 1.0), **{**PLAIN, "blur": 1.0})(x, generator())[0]
    expected = gaussian_filter(x[0, 0].numpy(), 1.0, mode="mirror", radius=3)
    assert torch.allclose(blurred[0, 0], torch.from_numpy(expected), atol=1e-10)


def test_the_teacher_sees_the_whole_image():
    x = images()
    one, two, _ = Crops(6, first="whole", crops=2)(x, generator())
    assert one.shape == x.shape and two.shape == (5, 2, 3, 6, 6)
    assert all(torch.equal(a, b) or torch.equal(a, b.flip(-1)) for a, b in zip(one, x, strict=True))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"flip": 1.5}, "flip: 1.5"),
        ({"area": (0.5, 0.2)}, "area"),
        ({"ratio": (0.0, 1.0)}, "ratio"),
        ({"hue": 0.7}, "hue"),
        ({"crops": 0}, "crops"),
        ({"size": 0}, "size"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        Crops(**arguments)


def test_bad_images_are_named():
    with pytest.raises(ValueError, match="x: shape"):
        Crops()(torch.zeros(3, 8, 8), generator())
    with pytest.raises(ValueError, match="x: 13 channels"):
        Crops(hue=0.1)(torch.zeros(2, 13, 8, 8), generator())
    with pytest.raises(TypeError, match=r"x: torch\.uint8"):
        Crops()(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), generator())
