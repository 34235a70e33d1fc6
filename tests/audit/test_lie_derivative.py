"""Tangents of images with a closed form, and derivatives that agree with finite differences."""

import pytest
import torch
from torch import nn

from erlangen.audit.probes.lie_derivative import directional_derivative, fourier_derivative, tangent_image


def gaussian(right: float = 0.0, up: float = 0.0) -> torch.Tensor:
    grid = torch.arange(33, dtype=torch.float64) - 16
    return torch.exp(-((grid[None, :] - right) ** 2 + (-grid[:, None] - up) ** 2) / (2 * 3.0**2))[None, None]


@pytest.mark.parametrize("name", ["shift_right", "shift_up", "rotation"])
def test_tangents_are_the_limits_of_the_moves(name: str) -> None:
    step = 1e-3
    moves = {"shift_right": (3 + step, 0.0), "shift_up": (3.0, step), "rotation": (3.0, 3 * step)}
    exact = (gaussian(*moves[name]) - gaussian(3.0, 0.0)) / step
    tangent = tangent_image(gaussian(3.0, 0.0), name, fourier_derivative)
    assert float((tangent - exact).norm() / exact.norm()) < 2e-3
    assert float((tangent_image(gaussian(3.0, 0.0), name) - exact).norm() / exact.norm()) < 0.05


def test_a_round_blob_does_not_turn() -> None:
    assert float(tangent_image(gaussian(), "rotation", fourier_derivative).norm()) < 1e-3


def test_forward_mode_agrees_with_central_differences() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.LazyLinear(4)).double()
    x = gaussian(3.0, 0.0)
    model(x)
    tangent = tangent_image(x, "rotation")
    derivative, how = directional_derivative(model, x, tangent)
    step = 1e-5
    expected = (model(x + step * tangent) - model(x - step * tangent)) / (2 * step)
    assert how == "forward-mode derivative"
    torch.testing.assert_close(derivative, expected.detach().float(), rtol=1e-3, atol=1e-5)
