"""Heads and the encoder of vectors: shapes, names, gradients, bad input."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen import nn as room
from erlangen.nn.heads import Classifier, Expander, Projector
from erlangen.nn.mlp import MLP


@given(dim=st.integers(1, 9), out=st.integers(2, 9), layers=st.integers(1, 4))
def test_heads_map_embeddings(dim, out, layers):
    x = torch.randn(5, dim)
    assert Classifier(dim, out)(x).shape == (5, out)
    expander = Expander(dim, out, hidden_dim=7, layers=layers)
    assert expander(x).shape == (5, out)
    linears = [m for m in expander if isinstance(m, torch.nn.Linear)]
    assert len(linears) == layers and linears[-1].bias is None


def test_projector_is_as_wide_as_the_embedding():
    linears = [m for m in Projector(16, 4) if isinstance(m, torch.nn.Linear)]
    assert [tuple(m.weight.shape) for m in linears] == [(16, 16), (4, 16)]


@pytest.mark.parametrize("shape", [(6,), (1, 4, 4)])
def test_mlp_takes_vectors_and_flattens_the_rest(shape):
    model = room.encoders.build("mlp", width=8, embedding_dim=3)
    x = torch.randn(4, *shape)
    assert model(x).shape == (4, 3)
    torch.testing.assert_close(model(x), model(x.flatten(1)))
    again = room.encoders.build("mlp", **json.loads(json.dumps(model.init_arguments)))
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.eval()(x), model.eval()(x))
    assert list(model.blocks()) == model.layer_names


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="num_classes: got 1"):
        Classifier(4, 1)
    with pytest.raises(ValueError, match="layers: got 0"):
        Expander(4, 4, layers=0)
    with pytest.raises(ValueError, match="depth"):
        MLP(depth=0)


def test_nan_in_nan_out():
    x = torch.randn(3, 5)
    x[0, 0] = torch.nan
    assert MLP(4, in_features=5).eval()(x)[0].isnan().all()


def test_names_are_known():
    assert {"plain_cnn", "group_cnn", "mlp"} <= set(room.encoders.names())
    with pytest.raises(ValueError, match="did you mean 'group_cnn'"):
        room.encoders.get("groupcnn")
