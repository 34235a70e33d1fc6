"""The same command on two processes: the same steps, shared out."""

import os
import subprocess
import sys
from pathlib import Path

import small_runs  # registers the encoder that the other processes fit
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.train import StepSampler, load

SCRIPT = Path(small_runs.__file__)


def test_two_processes_fit_under_ddp_and_leave_one_run(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path / "run"), "devices=2", "epochs=2"]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=200)
    run = load(tmp_path / "run")
    assert run.complete and [row["step"] for row in run.history] == [6, 12]


@given(count=st.integers(4, 90), share=st.integers(1, 9), world=st.integers(1, 4), epoch=st.integers(0, 3))
def test_the_ranks_share_each_step_without_overlap(count: int, share: int, world: int, epoch: int) -> None:
    whole = StepSampler(count, share * world, seed=0)
    parts = [StepSampler(count, share * world, seed=0, rank=rank, world=world) for rank in range(world)]
    permutation = whole.permutation(epoch)
    assert torch.equal(permutation.sort().values, torch.arange(count))
    for batch in range(parts[0].steps_per_epoch):
        shards = torch.cat([part.shard(permutation, batch) for part in parts])
        assert len(shards) == len(shards.unique()) == parts[0].step_size
