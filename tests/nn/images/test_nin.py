"""Network in network: sizes, the published parameter count of its layers, and bad input."""

import pytest
import torch

from erlangen.nn import encoders
from erlangen.nn.images import NIN


@pytest.mark.parametrize("side", [8, 16, 32])
def test_shapes_whatever_the_side_and_the_channels(side):
    torch.manual_seed(0)
    net = encoders.build("nin", width=12, blocks=3, embedding_dim=5)
    assert net(torch.randn(2, 4, side, side)).shape == (2, 5) and net.embedding_dim == 5
    with torch.no_grad():
        assert min(net.features(torch.randn(2, 4, side, side)).shape[-2:]) >= 2
    assert net.layer_names == ["stages.0", "stages.1", "stages.2"]
    assert NIN(6, in_channels=1, blocks=2)(torch.randn(3, 1, side, side)).shape == (3, 6)


def test_the_published_network_has_the_published_layers():
    net = NIN(in_channels=3, blocks=4)
    shapes = [tuple(m.weight.shape) for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert shapes[:6] == [
        (192, 3, 5, 5),
        (160, 192, 1, 1),
        (96, 160, 1, 1),
        (192, 96, 5, 5),
        (192, 192, 1, 1),
        (192, 192, 1, 1),
    ]
    assert shapes[6:] == [(192, 192, 3, 3), (192, 192, 1, 1), (192, 192, 1, 1)] * 2


def test_bad_arguments_are_named():
    for arguments, words in (
        ({"blocks": 1}, "blocks"),
        ({"width": 1}, "width"),
        ({"embedding_dim": 0}, "embedding_dim"),
    ):
        with pytest.raises(ValueError, match=words):
            NIN(**arguments)
