"""Two processes give the report of one; a process that fails stops both."""

import json
from pathlib import Path

import pytest
import torch
from audit_models import Encoder, blobs

import erlangen as er
from erlangen.audit import Budget, Report

PROBES = ["dead_units", "rankme", "knn", "equivariance", "shift_consistency", "linear_probe"]
OPTIONS = {"group": "C4", "probes": PROBES, "budget": Budget(samples=70, orbit_samples=30), "layers": "auto"}


def _worker(rank: int, folder: str, kind: str) -> None:
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2, store=store)
    try:
        data = blobs()
        if kind == "stream":  # what a DistributedSampler gives: every second sample
            data = [(data[0][i::2][:10], data[1][i::2][:10]) for i in [rank]] + [
                (data[0][rank::2][10:], data[1][rank::2][10:])
            ]
        if kind == "bad" and rank == 1:
            data[0][:] = torch.nan
        text = er.audit(Encoder(), data, **OPTIONS).to_json()
    except ValueError as error:
        text = json.dumps({"error": str(error)})
    Path(f"{folder}/{rank}.json").write_text(text)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def _two(folder: Path, kind: str) -> list[str]:
    torch.multiprocessing.spawn(_worker, args=(str(folder), kind), nprocs=2)
    return [(folder / f"{rank}.json").read_text() for rank in range(2)]


def _same(one: Report, two: Report) -> None:
    assert [f.key for f in one.findings] == [f.key for f in two.findings]
    for a, b in zip(one.findings, two.findings, strict=True):
        assert a.verdict == b.verdict
        assert a.value == pytest.approx(b.value, rel=1e-4, abs=1e-6)


def test_two_processes_give_the_report_of_one(tmp_path: Path) -> None:
    first, second = (Report.from_json(text) for text in _two(tmp_path, "tensors"))
    _same(first, second)
    alone = er.audit(Encoder(), blobs(), **OPTIONS)
    assert alone.header["n_used"] == first.header["n_used"] == 70
    _same(alone, first)


def test_streams_that_are_sharded_already_give_the_report_of_one(tmp_path: Path) -> None:
    first, second = (Report.from_json(text) for text in _two(tmp_path, "stream"))
    _same(first, second)
    x, label = blobs()
    _same(er.audit(Encoder(), [(x[:50], label[:50]), (x[50:], label[50:])], **OPTIONS), first)


def test_a_bad_sample_in_one_process_stops_both_with_its_words(tmp_path: Path) -> None:
    for text in _two(tmp_path, "bad"):
        assert "NaN" in json.loads(text)["error"]
