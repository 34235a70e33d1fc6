"""A run that was killed, interrupted or left without a disk goes on bit for bit."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import DropoutProbe, small_digits, small_fit

from erlangen.train import Run, RunDirectoryError, TrainingError, load
from erlangen.train.checkpoint import read_checkpoint
from erlangen.train.lock import RunLock

SCRIPT = Path(__file__).with_name("small_runs.py")


def assert_same(a: Run, b: Run) -> None:
    for one, two in ((a.encoder, b.encoder), (a.objective, b.objective)):
        left, right = one.state_dict(), two.state_dict()
        assert left.keys() == right.keys()
        assert all(torch.equal(left[name], right[name]) for name in left)
    assert a.history == b.history and a.metrics == b.metrics


def start(out: Path, *options: str) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, str(SCRIPT), str(out), *options], env=environment, stderr=subprocess.PIPE)


def wait_for_step(out: Path, step: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if json.loads((out / "state.json").read_text())["progress"]["step"] >= step:
                return
        except (OSError, ValueError):
            pass
        time.sleep(0.002)
    raise AssertionError(f"no step {step}: {process.stderr.read().decode() if process.stderr else ''}")


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_killed_at_any_moment_resumes_bit_for_bit(optimizer: str, tmp_path: Path) -> None:
    whole = small_fit(tmp_path / "whole", epochs=60, optimizer=optimizer)
    options = ("epochs=60", "save_every_steps=7", f"optimizer='{optimizer}'")
    moment = random.SystemRandom().randrange(1, 250)
    process = start(tmp_path / "killed", *options)
    wait_for_step(tmp_path / "killed", moment, process)
    time.sleep(random.SystemRandom().random() * 0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "result.json").exists(), "the run was over before it could be killed"
    before = load(tmp_path / "killed")
    assert not before.complete
    resumed = small_fit(tmp_path / "killed", epochs=60, optimizer=optimizer, save_every_steps=7)
    assert_same(whole, resumed)
    assert_same(resumed, load(tmp_path / "killed"))
    names = sorted(p.name for p in (tmp_path / "killed").iterdir())
    assert names == ["config.json", "history.jsonl", "result.json", "run.lock", "weights.safetensors"]


def test_ctrl_c_finishes_the_step_and_leaves_a_resumable_run(tmp_path: Path) -> None:
    process = start(tmp_path / "stopped", "epochs=60", "save_every_steps=50")
    wait_for_step(tmp_path / "stopped", 50, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) != 0
    assert process.stderr is not None and b"KeyboardInterrupt" in process.stderr.read()
    checkpoint = read_checkpoint(tmp_path / "stopped")
    assert checkpoint is not None and checkpoint.progress.step >= 50
    assert_same(small_fit(tmp_path / "whole", epochs=60), small_fit(tmp_path / "stopped", epochs=60))


def test_the_same_call_gives_the_same_run_and_leaves_the_callers_randomness_alone() -> None:
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    first = small_fit(None, encoder="dropout_probe")
    assert torch.equal(torch.rand(3), expected[0])
    assert (np.random.rand(3) == expected[1]).all()  # noqa: NPY002
    assert_same(first, small_fit(None, encoder="dropout_probe"))
    other = small_fit(None, encoder="dropout_probe", seed=4)
    assert not torch.equal(first.encoder.model.layers[5].weight, other.encoder.model.layers[5].weight)


def test_a_finished_run_returns_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = small_fit(tmp_path / "run")
    monkeypatch.setattr("erlangen.train.fitting.build_trainer", None)
    assert_same(first, small_fit(tmp_path / "run"))


def test_another_configuration_is_refused_with_the_keys_that_differ(tmp_path: Path) -> None:
    small_fit(tmp_path / "run", epochs=1)
    with pytest.raises(
        RunDirectoryError, match=r"fit\.epochs \(there 1, here 2\), fit\.lr \(there 0\.005, here 0\.1\)"
    ):
        small_fit(tmp_path / "run", epochs=2, lr=0.1)
    with pytest.raises(RunDirectoryError, match=r"encoder\.arguments\.width"):
        small_fit(tmp_path / "run", epochs=1, encoder=DropoutProbe(width=8))
    with pytest.raises(RunDirectoryError, match=r"data\.fingerprint"):
        small_fit(tmp_path / "run", epochs=1, data=small_digits(299))
    again = small_fit(tmp_path / "run", epochs=2, resume=False)
    assert len(again.history) == 2


def test_two_runs_in_one_directory(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with RunLock(tmp_path / "run"), pytest.raises(RunDirectoryError, match=f"in use by pid {os.getpid()} on "):
        small_fit(tmp_path / "run")
    assert small_fit(tmp_path / "run", epochs=1).complete


def test_a_foreign_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunDirectoryError, match=r"not empty and not a run \(thesis\.tex"):
        small_fit(tmp_path)
    with pytest.raises(ValueError, match="is a file"):
        small_fit(tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_full_disk_leaves_the_last_checkpoint_and_no_scraps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    real = os.fsync

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"not written \(No space left on device\)") as caught:
            small_fit(tmp_path / "run", save_every_steps=2)
    assert caught.value.errno == errno.ENOSPC
    names = [p.name for p in (tmp_path / "run").iterdir()]
    assert len([n for n in names if n.startswith("state-")]) == 1 and not [n for n in names if n.endswith(".tmp")]
    assert_same(small_fit(None), small_fit(tmp_path / "run", save_every_steps=2))


def test_early_stopping_keeps_the_best_epoch_and_survives_a_kill(tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 60, "lr": 0.05, "patience": 3, "schedule": "constant"}
    run = small_fit(tmp_path / "run", **options)
    losses = [row["val/loss"] for row in run.history]
    assert len(losses) < 60 and run.metrics["val/loss"] == min(losses)
    assert len(losses) - 1 - losses.index(min(losses)) == 3
    process = start(
        tmp_path / "killed", "epochs=60", "lr=0.05", "patience=3", "schedule='constant'", "save_every_steps=1"
    )
    wait_for_step(tmp_path / "killed", 20, process)
    process.kill()
    process.wait()
    assert_same(run, small_fit(tmp_path / "killed", save_every_steps=1, **options))


def test_nan_names_the_loss_term_and_the_step(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"loss term cross_entropy = nan at step \d+ \(epoch \d\)"):
        small_fit(tmp_path / "run", lr=1e30)
