"""Image encoders: invariant where promised, at every size; plain where nothing is promised; honest about bad input."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen import nn as room
from erlangen.groups import parse
from erlangen.nn.images import BlurPool2d, GroupBatchNorm2d, GroupCNN, GroupPool, PlainCNN
from erlangen.nn.images.conv_encoder import smooth_disc


def relative(a, b):
    return float((a - b).norm().detach() / b.norm().detach())


def trained_statistics(model, x):
    """Weights and running statistics that no symmetric initialisation could fake."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        model.train()(x)
    return model.eval()


@given(
    name=st.sampled_from(["C1", "C2", "C4", "D1", "D2", "D4"]),
    size=st.integers(5, 16),
    dtype=st.sampled_from([torch.float64, torch.float32]),
    mode=st.sampled_from(["train", "eval"]),
)
def test_invariance_is_exact(name, size, dtype, mode):
    torch.manual_seed(size)
    model = GroupCNN(name, width=8, in_channels=2, embedding_dim=5, stages=3).to(dtype)
    x = torch.randn(3, 2, size, size, dtype=dtype)
    trained_statistics(model, x).train(mode == "train")
    n = int(name[1:])
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    with torch.no_grad():
        y = model(x)
        for rot in range(n):
            moved = torch.rot90(x, rot * 4 // n, (-2, -1))
            assert relative(model(moved), y) < tolerance
            if name[0] == "D":
                assert relative(model(moved.flip(-1)), y) < tolerance


def test_the_plain_encoder_is_not_invariant():
    torch.manual_seed(0)
    model, x = PlainCNN(8, in_channels=1), torch.randn(3, 1, 8, 8)
    assert relative(model(x.rot90(1, (-2, -1))), model(x)) > 0.1


def test_finer_groups_are_exact_at_quarter_turns_and_close_between():
    torch.manual_seed(0)
    model = GroupCNN("C8", width=32, in_channels=1, embedding_dim=16).double()
    x = smooth_disc(4, 1, 57, 57, sigma=3.0).double()
    trained_statistics(model, x)
    model.train()
    action = model.symmetries[0].input_action
    with torch.no_grad():
        y = model(x)
        errors = [relative(model(action(g, x)), y) for g in parse("C8").elements()]
    assert max(errors[0::2]) < 1e-10
    assert max(errors[1::2]) < 0.15


@pytest.mark.parametrize("build", [lambda: PlainCNN(4), lambda: GroupCNN("C4", width=4)])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 12), (1, 28, 28), (3, 224, 224)])
def test_all_sizes_and_channels(build, shape):
    model = build()
    assert model(torch.randn(2, *shape)).shape == (2, model.embedding_dim)
    assert model.num_parameters > 0
    assert set(model.blocks()) == set(model.layer_names)


@pytest.mark.parametrize("name", ["plain_cnn", "group_cnn"])
def test_is_rebuilt_from_its_name_arguments_and_state(name):
    model = room.encoders.build(name, width=8)
    x = torch.randn(4, 1, 8, 8)
    model(x)
    again = room.encoders.build(name, **json.loads(json.dumps(model.init_arguments)))
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.eval()(x), model.eval()(x))


def test_a_group_object_is_remembered_by_name():
    assert GroupCNN(parse("D4"), width=8).init_arguments["group"] == "D4"


@pytest.mark.parametrize("group", ["C4", "C8"])
def test_compiles_into_one_graph(group):
    # traced without the run-time shape checks of the test suite, which are not part of the package
    import subprocess
    import sys

    program = f"""
import torch
from erlangen.nn.images import GroupCNN
torch.manual_seed(0)
model = GroupCNN({group!r}, width=8, in_channels=1, embedding_dim=4)
x = torch.randn(2, 1, 9, 9)
compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
for mode in (True, False):
    model.train(mode)
    torch.testing.assert_close(compiled(x), model(x))
compiled(x).sum().backward()
assert all(p.grad is not None for p in model.parameters())
with torch.no_grad():
    torch.testing.assert_close(compiled(x), model(x))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("build", [lambda: PlainCNN(4, kernel_size=5), lambda: GroupCNN("C4", width=4, kernel_size=5)])
def test_an_image_smaller_than_the_kernel_is_refused(build):
    with pytest.raises(ValueError, match="x: images of 4 x 9 are smaller than the 5 x 5 kernel"):
        build()(torch.zeros(2, 1, 4, 9))


def test_nan_in_nan_out():
    x = torch.randn(2, 1, 8, 8)
    x[1, 0, 4, 4] = torch.nan
    for model in (PlainCNN(4, in_channels=1), GroupCNN("C4", width=4, in_channels=1)):
        y = model.eval()(x)
        assert y[1].isnan().all() and not y[0].isnan().any()


@pytest.mark.parametrize("bad", [{"group": "SO(3)"}, {"width": 0}, {"kernel_size": 4}])
def test_bad_arguments_are_named(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        GroupCNN(**bad)


def test_parameter_counts_follow_match():
    plain = PlainCNN(32, in_channels=1).num_parameters
    compute = GroupCNN("C4", width=32, in_channels=1).num_parameters
    parameters = GroupCNN("C4", width=32, in_channels=1, match="parameters").num_parameters
    assert compute < plain / 2
    assert 0.5 < parameters / plain < 2


@given(size=st.integers(1, 17), other=st.integers(1, 17))
def test_blur_pool_commutes_with_the_square(size, other):
    pool, x = BlurPool2d().double(), torch.randn(2, 3, size, other, dtype=torch.float64)
    y = pool(x)
    assert y.shape[-2:] == (-(-size // 2), -(-other // 2))
    torch.testing.assert_close(pool(x.rot90(1, (-2, -1))), y.rot90(1, (-2, -1)), rtol=0, atol=1e-14)
    torch.testing.assert_close(pool(x.flip(-1)), y.flip(-1), rtol=0, atol=1e-14)
    torch.testing.assert_close(pool(torch.ones_like(x)), torch.ones_like(y))


def test_group_batch_norm_shares_its_statistics():
    layer, x = GroupBatchNorm2d("C4", 2), torch.randn(5, 8, 3, 3) * torch.arange(1, 9)[:, None, None]
    y = layer(x).unflatten(1, (2, 4))
    torch.testing.assert_close(y.mean((0, 2, 3, 4)), torch.zeros(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.var((0, 2, 3, 4), correction=0), torch.ones(2), rtol=0, atol=1e-3)
    expected = x.unflatten(1, (2, 4)).mean((0, 2, 3, 4)) * 0.1
    torch.testing.assert_close(layer.norm.running_mean, expected)
    assert isinstance(torch.nn.SyncBatchNorm.convert_sync_batchnorm(layer).norm, torch.nn.SyncBatchNorm)


def test_group_pool_and_bad_channels():
    x = torch.randn(2, 8, 3, 3)
    torch.testing.assert_close(GroupPool("C4")(x)[:, 1], x[:, 4:].amax(1))
    torch.testing.assert_close(GroupPool("C4", reduce="mean")(x)[:, 0], x[:, :4].mean(1))
    with pytest.raises(ValueError, match="x: got 8 channels"):
        GroupPool("C3")(x)
    with pytest.raises(ValueError, match="x: got 8 channels"):
        GroupBatchNorm2d("C4", 3)(x)
