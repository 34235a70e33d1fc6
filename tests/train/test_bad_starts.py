"""Fits that cannot start: one line that names the argument, and a folder that keeps nobody out."""

import json

import numpy as np
import pytest
import torch

from erlangen.cli.main import main
from erlangen.data import ArrayDataset
from erlangen.nn import encoders
from erlangen.objectives import build
from erlangen.train import RunDirectoryError, TrainingError, fit


def rows(count=40):
    x = torch.randn(count, 6, generator=torch.Generator().manual_seed(0))
    return ArrayDataset(x, torch.arange(count) % 2, kind="vector")


def mlp():
    return encoders.build("mlp", in_features=6, width=8, embedding_dim=4)


QUICK = {"epochs": 1, "batch_size": 8, "quiet": True}


def test_steps_of_one_sample_are_refused_where_rows_are_normalised_over_the_batch():
    with pytest.raises(ValueError, match=r"^batch_size: 1; the batch normalisation in 'model\..*at least 2"):
        fit(mlp(), rows(), **{**QUICK, "batch_size": 1})
    with pytest.raises(ValueError, match=r"^data: 1 sample to fit; "):
        fit(mlp(), rows(2), **QUICK)


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1, 10**30])
def test_a_seed_that_no_generator_takes_is_named(seed):
    with pytest.raises(ValueError, match=f"^seed: .*got {seed}"):
        fit(mlp(), rows(), seed=seed, **QUICK)


def test_a_fit_that_failed_before_its_first_checkpoint_leaves_its_folder_to_the_next(tmp_path):
    with pytest.raises(TrainingError, match=r"^the total of the weighted loss terms = (nan|inf)|^loss term"):
        fit(mlp(), rows(), objective=build("sie", group="SO(3)", std=1e300), views=pairs, out=tmp_path / "run", **QUICK)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["objective"]["name"] == "sie"
    fit(mlp(), rows(), out=tmp_path / "run", **QUICK)
    with pytest.raises(RunDirectoryError, match="another configuration") as error:
        fit(mlp(), ArrayDataset(rows().x + 1, rows().label, kind="vector"), out=tmp_path / "run", **QUICK)
    assert "data.mean" in str(error.value) and len(str(error.value)) < 900  # not every number of both means


def test_a_function_of_views_has_the_same_name_in_every_process(tmp_path):
    run = fit(mlp(), rows(), objective=build("vicreg"), views=pairs, out=tmp_path / "run", **QUICK)
    assert run.config["fit"]["views"].endswith("test_bad_starts.pairs")


def pairs(x, generator):
    return x, x, torch.eye(3).expand(len(x), 3, 3)


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ({"std": float("inf")}, r"^std: inf; sie takes finite numbers"),
        ({"predictor_layers": [4, -1]}, r"^predictor_layers: "),
    ],
)
def test_arguments_of_objectives_are_named(objective, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        fit(
            mlp(),
            rows(),
            objective=build("sie", group="SO(3)", **objective),
            views=pairs,
            out=tmp_path / "run",
            **QUICK,
        )


def test_memory_that_is_not_there_is_said_in_one_line(tmp_path, capsys):
    np.savez(tmp_path / "images.npz", x=np.zeros((40, 6, 6), dtype=np.uint8), y=np.arange(40) % 2)
    assert main(["fit", str(tmp_path / "images.npz"), "--pad", "100000000", "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.startswith("erlangen: out of memory (1600000096000001440 bytes in one piece); give")
