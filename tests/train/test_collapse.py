"""A run that collapses is noticed and named, in the log, in the history and on disk; others are left alone."""

import json
import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import small_digits, small_fit

from erlangen import train
from erlangen._registry import encoders
from erlangen.objectives import NTXent, VICReg
from erlangen.objectives.collapse import embedding_monitors, named_collapse
from erlangen.train.monitoring import watch


@encoders.register("constant_probe", summary="an encoder that gives every sample one embedding")
class ConstantProbe(torch.nn.Module):
    def __init__(self, embedding_dim: int = 8) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.point = torch.nn.Parameter(torch.ones(embedding_dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.point + 0 * x.flatten(1)[:, :1]


@settings(max_examples=10, deadline=None)
@given(scale=st.floats(1e-6, 1e6), seed=st.integers(0, 99))
def test_spread_and_rank_are_free_of_scale_and_rotation(scale, seed):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(20, 5, dtype=torch.float64, generator=generator)
    q = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64, generator=generator)).Q
    base, moved = embedding_monitors(z), embedding_monitors(scale * z @ q)
    for name in ("relative_spread", "effective_rank"):
        assert moved[name] == pytest.approx(base[name], rel=1e-9)
    assert embedding_monitors(scale * z)["embedding_std"] == pytest.approx(scale * base["embedding_std"], rel=1e-9)


def test_the_three_numbers_where_they_are_known():
    corners = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    assert embedding_monitors(corners)["effective_rank"] == pytest.approx(2.0)
    assert embedding_monitors(corners)["relative_spread"] == pytest.approx(1.0)
    point = embedding_monitors(torch.full((4, 3), 2.0))
    assert point == {"embedding_std": 0.0, "relative_spread": 0.0, "effective_rank": 0.0}
    line = torch.arange(6.0)[:, None] * torch.ones(1, 8) + 1
    monitors = embedding_monitors(line)
    assert monitors["effective_rank"] == pytest.approx(1.0, abs=1e-5)
    assert "dimensional collapse: the embedding uses 1.00 of 8" in named_collapse(
        VICReg(), {}, monitors, dim=8, samples=6
    )
    with pytest.raises(ValueError, match="embedding: a batch of 1"):
        embedding_monitors(line[:1])


def test_a_constant_encoder_is_a_complete_collapse(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="erlangen"):
        run = small_fit(tmp_path / "run", encoder="constant_probe", epochs=2)
    assert "complete collapse" in run.collapse and "complete collapse" in caplog.text
    assert caplog.text.count("complete collapse") == 1, "once is enough"
    rows = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert all("complete collapse" in row["collapse"] and row["monitor/relative_spread"] < 1e-5 for row in rows)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["collapse"] == run.collapse
    assert train.load(tmp_path / "run").collapse == run.collapse


def test_vicreg_without_its_variance_term_is_named_and_with_it_is_not(caplog):
    arguments = {"epochs": 6, "lr": 0.02, "weight_decay": 0.0, "val_fraction": 0.0}
    collapsed = small_fit(None, objective=VICReg(std=0.0, cov=0.0, width=32), **arguments)
    assert "collapse: the variance term" in collapsed.collapse and "collapse: the variance term" in caplog.text
    caplog.clear()
    healthy = small_fit(None, objective=VICReg(width=32), **arguments)
    assert healthy.collapse is None and not caplog.text


def test_contrast_on_views_is_healthy_and_watching_changes_nothing(tmp_path, monkeypatch):
    watched = small_fit(tmp_path / "a", objective=NTXent(width=8), epochs=2)
    assert watched.collapse is None and "monitor/effective_rank" in watched.metrics
    monkeypatch.setattr("erlangen.train.fitting.watched_samples", lambda data: None)
    blind = small_fit(tmp_path / "b", objective=NTXent(width=8), epochs=2)
    assert "monitor/effective_rank" not in blind.metrics
    for a, b in zip(watched.encoder.parameters(), blind.encoder.parameters(), strict=True):
        assert torch.equal(a, b)


def test_two_classes_on_a_line_are_no_collapse_for_a_classifier():
    monitors = {"embedding_std": 1.0, "relative_spread": 0.9, "effective_rank": 1.1}

    class Labelled:
        needs_labels = True

    assert named_collapse(Labelled(), {}, monitors, dim=16, samples=50) is None


def test_the_watched_samples_span_the_data():
    assert len(train.fitting.watched_samples(small_digits(300))) == 256 and small_digits(1).x.shape[0] == 1
    assert train.fitting.watched_samples(small_digits(1)) is None


@pytest.mark.parametrize(("steps", "named"), [(5, False), (40, True)])
def test_held_out_signs_count_once_the_running_statistics_have_followed(steps, named):
    """After five steps batch norm's running statistics are mostly what they were at the start, and all seems alike."""
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.BatchNorm1d(8))
    x = torch.randn(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    for _ in range(steps):
        encoder(x)
    row = {"val/stranger_cosine": 1.0, "train/alignment": 0.1}
    found = watch(encoder, NTXent(), x, row, "cpu")
    assert ("collapse" in found) == named
    assert found["monitor/effective_rank"] > 2
    plain = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8))
    assert "collapse" in watch(plain, NTXent(), x, row, "cpu")
