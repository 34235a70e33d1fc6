"""Embeddings of a whole set: in order, resumable, refused where they would lie."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from erlangen.data import ArrayDataset
from erlangen.deploy import Index, embed, embedding_space, open_embeddings


class Scaled(nn.Module):
    embedding_dim = 12

    def __init__(self, fail_after: int = 10**9) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(12, 12, generator=generator))
        self.left = fail_after

    def forward(self, x: Tensor) -> Tensor:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return x @ self.weight


def samples(count: int = 100) -> ArrayDataset:
    return ArrayDataset(torch.randn(count, 12, generator=torch.Generator().manual_seed(1)), kind="vector", splits={})


def test_embeddings_are_those_of_one_forward_pass_in_order(tmp_path: Path) -> None:
    model, data = Scaled().train(), samples()
    expected = data.tensors()[0] @ model.weight.detach()
    torch.testing.assert_close(embed(model, data, batch_size=7), expected)
    torch.testing.assert_close(open_embeddings(embed(model, data, batch_size=7, out=tmp_path / "v")), expected)
    assert model.training
    index = Index.build(tmp_path / "v")
    assert index.space.model_id == embedding_space(model)["model_id"]
    assert torch.equal(index.search(expected, 1).ids[:, 0], torch.arange(100))


def test_an_interrupted_embedding_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("erlangen.deploy.embedding.BYTES_BETWEEN_MARKS", 0)
    with pytest.raises(KeyboardInterrupt):
        embed(Scaled(fail_after=5), samples(), batch_size=10, out=tmp_path / "v")
    assert json.loads((tmp_path / "v" / "manifest.json").read_text())["done"] == 50
    with pytest.raises(ValueError, match="unfinished"):
        open_embeddings(tmp_path / "v")
    embed(Scaled(fail_after=5), samples(), batch_size=10, out=tmp_path / "v")
    assert torch.equal(open_embeddings(tmp_path / "v"), embed(Scaled(), samples(), batch_size=10))
    embed(Scaled(fail_after=0), samples(), batch_size=10, out=tmp_path / "v")


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    embed(Scaled(), samples(), out=tmp_path / "v")
    with pytest.raises(ValueError, match=r"out: .* holds embeddings with another data and count"):
        embed(Scaled(), samples(99), out=tmp_path / "v")
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="not empty and holds no embeddings"):
        embed(Scaled(), samples(), out=tmp_path / "w")
    vectors = tmp_path / "v" / "vectors.npy"
    vectors.write_bytes(vectors.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"vectors.npy: truncated"):
        open_embeddings(tmp_path / "v")


def test_nan_is_named_by_its_sample() -> None:
    model = Scaled()
    with torch.no_grad():
        model.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="encoder: the embedding of sample 0 is NaN"):
        embed(model, samples())
