"""Taps see what layers put out, and leave no trace; a twin forgets what was learned."""

import pytest
import torch
from torch import nn

from erlangen.nn.images import GroupCNN
from erlangen.nn.tap import Tap, resolve_layers, untrained_twin


class Reused(nn.Module):
    """One layer used twice, then changed in place; a tuple and a dict on the way."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.pair = Pair()

    def forward(self, x):
        x = self.linear(self.linear(x))
        x.relu_()
        return self.pair(x)["sum"]


class Pair(nn.Module):
    def forward(self, x):
        return {"sum": x + 1, "both": (x, -x)}


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_reused_layers_in_place_changes_and_nested_outputs():
    torch.manual_seed(0)
    model, x = Reused(), torch.randn(3, 4)
    with Tap(model, ["linear", "pair"], pool=None) as tap:
        model(x)
        model(x)
    once = model.linear(x)
    torch.testing.assert_close(tap.activations["linear"], once)
    torch.testing.assert_close(tap.activations["linear#2"], model.linear(once))
    assert (tap.activations["linear#2"] < 0).any()
    assert set(tap.activations) == {"linear", "linear#2", "pair.sum", "pair.both[0]", "pair.both[1]"}
    assert hooks(model) == 0


def test_pooling_averages_the_inner_axes():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(2), nn.Linear(36, 5))
    x = torch.randn(2, 1, 8, 8)
    with Tap(model, ["0", "2"]) as tap:
        model(x)
    torch.testing.assert_close(tap.activations["0"], model[0](x).mean((2, 3)).detach())
    torch.testing.assert_close(tap.activations["2"], model(x).mean(1).detach())
    assert not tap.activations["0"].requires_grad
    with Tap(model, "0", detach=False) as tap:
        model(x)
    assert tap.activations["0"].requires_grad


def test_hooks_are_gone_after_an_exception():
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(RuntimeError), Tap(model, "0"):
        model(torch.zeros(1, 3))
    assert hooks(model) == 0


def test_layers_by_name_glob_and_declaration():
    encoder = GroupCNN("C4", width=4, in_channels=1)
    assert resolve_layers(encoder) == ["stages.0", "stages.1", "stages.2", "head"]
    wrapped = nn.Sequential(nn.Identity(), encoder)
    assert resolve_layers(wrapped)[0] == "1.stages.0"
    assert resolve_layers(encoder, "stages.?") == ["stages.0", "stages.1", "stages.2"]
    assert resolve_layers(encoder, ["head", "stages.0"]) == ["stages.0", "head"]
    with pytest.raises(ValueError, match=r"layers: unknown 'stage\.0'; did you mean 'stages\.0'"):
        resolve_layers(encoder, "stage.0")


def test_auto_opens_containers_and_keeps_the_ends():
    plain = nn.Sequential(*[nn.Sequential(nn.Linear(2, 2), nn.ReLU()) for _ in range(20)])
    chosen = resolve_layers(plain, limit=5)
    assert len(chosen) == 5 and chosen[0] == "0" and chosen[-1] == "19"
    assert resolve_layers(nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.Linear(2, 2))) == ["0", "2"]
    listed = nn.Module()
    listed.blocks = nn.ModuleList(nn.Linear(2, 2) for _ in range(20))
    listed.out = nn.Linear(2, 2)
    chosen = resolve_layers(listed)
    assert len(chosen) == 12 and "blocks" not in chosen and chosen[-1] == "out"


class Bare(nn.Module):
    """Parameters without `reset_parameters`."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.arange(100.0))
        self.norm = nn.BatchNorm1d(3)
        self.linear = nn.Linear(3, 3)


def test_twin_forgets_is_reproducible_and_leaves_the_rest_alone():
    model = Bare()
    model.norm(torch.randn(8, 3) + 5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    twin, again, other = untrained_twin(model, 1), untrained_twin(model, 1), untrained_twin(model, 2)
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
        assert torch.equal(twin.state_dict()[name], again.state_dict()[name])
    assert not torch.equal(twin.linear.weight, model.linear.weight)
    assert not torch.equal(twin.linear.weight, other.linear.weight)
    assert torch.equal(twin.scale.sort().values, model.scale) and not torch.equal(twin.scale, model.scale)
    assert torch.equal(twin.norm.running_mean, torch.zeros(3))


def test_twin_of_an_invariant_encoder_is_invariant():
    twin = untrained_twin(GroupCNN("D4", width=8, in_channels=1).double()).eval()
    x = torch.randn(2, 1, 7, 7, dtype=torch.float64)
    torch.testing.assert_close(twin(x.rot90(1, (-2, -1))), twin(x), rtol=0, atol=1e-10)
