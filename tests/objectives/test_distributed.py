"""Two processes give the value and the gradients of one process on the concatenated batch."""

import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from distributed_cases import CASES, part_of, run, whole_batch

import erlangen
from erlangen import objectives
from erlangen.objectives.distributed import ReductionKind, gather_batch, local_weight


def process(rank, port, cut, queue):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    try:
        results = {}
        for name in CASES:
            if cut != 5 and objectives.get(name).distributed_kind is ReductionKind.LOCAL_MEAN:
                continue
            whole = whole_batch(name)
            part = part_of(whole, 0, cut) if rank == 0 else part_of(whole, cut, len(whole))
            value, gradient = run(name, part)
            dist.all_reduce(value)
            dist.all_reduce(gradient)
            results[name] = (value / 2, gradient / 2)
        gathered = gather_batch(part.x, ReductionKind.GATHER_NEGATIVES)
        same = gather_batch(part.x, ReductionKind.LOCAL_MEAN)
        if rank == 0:
            results["gathered"] = (gathered, torch.tensor(same is part.x))
            queue.put({key: tuple(t.numpy() for t in pair) for key, pair in results.items()})
            queue.join()
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module", params=[5, 3], ids=["equal batches", "unequal batches"])
def from_two_processes(request):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = mp.get_context("spawn")
    queue = context.JoinableQueue()
    workers = [context.Process(target=process, args=(rank, port, request.param, queue)) for rank in range(2)]
    for worker in workers:
        worker.start()
    try:
        results = queue.get(timeout=240)
        queue.task_done()
    finally:
        for worker in workers:
            worker.join(30)
            if worker.is_alive():
                worker.kill()
    return results


@pytest.mark.parametrize("name", sorted(CASES))
def test_value_and_gradient_of_two_processes_are_those_of_one(name, from_two_processes):
    if name not in from_two_processes:
        assert objectives.get(name).distributed_kind is ReductionKind.LOCAL_MEAN
        return
    value, gradient = run(name, whole_batch(name))
    there_value, there_gradient = (torch.from_numpy(t) for t in from_two_processes[name])
    assert torch.allclose(value, there_value, rtol=1e-12)
    assert torch.allclose(gradient, there_gradient, rtol=1e-10, atol=1e-12)


def test_every_objective_that_ships_has_a_case():
    shipped = {e.name for e in erlangen._registry.objectives if e.obj.__module__.startswith("erlangen.")}
    assert shipped == set(CASES)


def test_gathering_puts_the_batches_in_order_of_rank(from_two_processes):
    gathered, untouched = from_two_processes["gathered"]
    last = list(CASES)[-1]
    assert torch.equal(torch.from_numpy(gathered), whole_batch(last).x) and bool(untouched)


def test_one_process_needs_no_gathering():
    x = torch.randn(3, 2)
    assert all(gather_batch(x, kind) is x for kind in ReductionKind) and local_weight(x) == 1.0
