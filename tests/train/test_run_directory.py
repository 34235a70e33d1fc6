"""What `load` accepts and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_runs import DropoutProbe, small_digits, small_fit
from torch import nn

from erlangen.train import Run, load


@pytest.fixture()
def run(tmp_path: Path) -> Run:
    return small_fit(tmp_path / "run", epochs=1)


def test_a_loaded_run_computes_what_the_fitted_one_did(run: Run) -> None:
    assert run.path is not None
    again = load(run.path)
    x, _ = small_digits().tensors(torch.arange(40))
    assert torch.equal(run.encoder(x), again.encoder(x)) and again.complete
    assert run.classifier is not None and again.classifier is not None
    assert torch.equal(run.classifier(run.encoder(x)), again.classifier(again.encoder(x)))
    assert again.space == run.space and again.space["dim"] == again.encoder.embedding_dim == 16
    assert not again.encoder.training


def test_weights_speak_through_the_space_id(run: Run) -> None:
    before = run.space["model_id"]
    with torch.no_grad():
        run.encoder.model.layers[5].bias[0] += 1e-3
    assert run.space["model_id"] != before


def refused(path: Path, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_run_is_one_line_naming_the_file(run: Run) -> None:
    assert run.path is not None
    weights = run.path / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-50])
    refused(run.path, "weights.safetensors: truncated or altered")
    weights.unlink()
    refused(run.path, "weights.safetensors: no such file")
    weights.write_bytes(whole)
    (run.path / "result.json").write_text("[" * 100_000)
    refused(run.path, "result.json: not readable as JSON")
    refused(run.path / "nowhere", "is not a run directory")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format_version": 99}, "config.json: run format version 99"),
        ({"format": "pickle"}, "config.json: not the configuration"),
        ({"encoder": {"name": "os.system", "arguments": {}}}, "config.json: cannot rebuild.*unknown 'os.system'"),
        ({"encoder": {"name": "dropout_probe", "arguments": {"bad": 1}}}, "config.json: cannot rebuild"),
        ({"encoder": {"name": "dropout_probe", "arguments": {"width": 5}}}, "weights do not fit|cannot rebuild"),
        ({"data": None}, "config.json: cannot rebuild"),
        ({"data": {"mean": [0.0], "std": [1.0], "num_classes": 10, "sample_shape": [10**12]}}, "cannot rebuild"),
    ],
)
def test_a_hostile_configuration_is_one_line_naming_the_file(run: Run, change: dict[str, Any], words: str) -> None:
    assert run.path is not None
    config = run.path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **change}))
    refused(run.path, words)


def test_a_checkpoint_may_not_point_elsewhere_or_lack_weights(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError):
        small_fit(tmp_path / "run", lr=1e30)
    state = tmp_path / "run" / "state.json"
    good = json.loads(state.read_text())
    for change, words in (
        ({"file": "../../secret.safetensors"}, "points outside the run directory"),
        ({"format_version": 7}, "format 7"),
        ({"progress": {"steps": 1}}, "not a checkpoint"),
        ({"file": "state-9.safetensors"}, "state-9.safetensors: no such file"),
    ):
        state.write_text(json.dumps({**good, **change}))
        refused(tmp_path / "run", words)
    state.write_text(json.dumps(good))
    file = tmp_path / "run" / good["file"]
    tensors = load_file(file)
    save_file({name: value for name, value in tensors.items() if "bias" not in name}, file)
    refused(tmp_path / "run", "state.json: the weights do not fit")
    file.write_bytes(b"\x80\x04\x95 a pickle")
    refused(tmp_path / "run", "truncated or not a safetensors file")


def test_what_cannot_be_rebuilt_is_refused_before_training(tmp_path: Path) -> None:
    class Mine(DropoutProbe):
        pass

    with pytest.raises(ValueError, match=r"encoder: .*Mine is not registered.*@erlangen\.nn\.register"):
        small_fit(tmp_path / "run", encoder=Mine())
    assert not (tmp_path / "run").exists()
    assert small_fit(None, encoder=Mine(), epochs=1).complete


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"encoder": "plain_cn"}, "unknown 'plain_cn'; did you mean 'plain_cnn'"),
        ({"objective": "vicregg"}, "unknown 'vicregg'; did you mean 'vicreg'"),
        ({"optimizer": "adamm"}, "optimizer: unknown 'adamm'"),
        ({"schedule": "cosin"}, "schedule: unknown 'cosin'"),
        ({"epochs": 0}, "epochs: must be a whole number"),
        ({"lr": float("nan")}, "lr: must be positive"),
        ({"val_fraction": 1.0}, "val_fraction: must be in"),
        ({"devices": 0}, "devices: must be at least 1"),
        ({"devices": 2}, "out: several processes need a run directory"),
    ],
)
def test_a_bad_argument_is_refused_by_name(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small_fit(None, **options)


def test_labels_are_asked_for_where_they_are_needed() -> None:
    import erlangen.data

    x, label = small_digits().tensors()
    with pytest.raises(ValueError, match="data: 'plain' has no labels"):
        small_fit(None, data=erlangen.data.ArrayDataset(x, name="plain"))
    with pytest.raises(ValueError, match="data: 'one' has one class"):
        small_fit(None, data=erlangen.data.ArrayDataset(x, torch.zeros_like(label), name="one"))
    with pytest.raises(ValueError, match="encoder: must map a batch to"):
        small_fit(None, encoder=nn.Flatten(0))


def test_importing_the_room_does_not_import_lightning() -> None:
    code = "import sys, erlangen.train as t; t.load, t.Run, t.fit; assert 'lightning' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_fit_says_nothing_and_leaves_nothing_lying_about(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from small_runs import small_fit; "
        "small_fit(None, epochs=1, quiet=False)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "" and done.stderr == "" and list(tmp_path.iterdir()) == []
