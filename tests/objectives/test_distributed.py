"""Two processes give the value and the gradients of one process on the concatenated batch."""

import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from erlangen import objectives
from erlangen.data import PairBatch
from erlangen.objectives.distributed import ReductionKind, gather_batch, local_weight

DIM = 5
ARGUMENTS = {"cross_entropy": {}, "rotnet": {"group": "C4"}, "vicreg": {"layers": 2, "width": 12}}


class FlatLinear(torch.nn.Module):
    """A linear encoder without batch statistics, so that the loss alone couples the samples."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(16, DIM, dtype=torch.float64)

    def forward(self, x):
        return torch.tanh(self.linear(x.flatten(1)))


def build(name):
    torch.manual_seed(0)
    encoder, objective = FlatLinear(), objectives.build(name, **ARGUMENTS[name])
    objective.setup(embedding_dim=DIM, num_classes=3)
    if name == "vicreg":
        objective.expander = torch.nn.Linear(DIM, 12)  # batch norm couples samples by itself: leave it out
    return encoder, objective.double()


def whole_batch(n=10):
    generator = torch.Generator().manual_seed(3)
    x, x2 = (torch.randn(n, 1, 4, 4, dtype=torch.float64, generator=generator) for _ in range(2))
    return PairBatch(x, x2, label=torch.randint(3, (n,), generator=generator))


def part_of(batch, start, stop):
    return PairBatch(batch.x[start:stop], batch.x2[start:stop], label=batch.label[start:stop])


def run(name, batch):
    encoder, objective = build(name)
    total = objective(encoder, batch).total
    total.backward()
    parameters = [*encoder.parameters(), *objective.parameters()]
    return total.detach(), torch.cat([p.grad.flatten() for p in parameters])


def process(rank, port, cut, queue):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    try:
        whole = whole_batch()
        part = part_of(whole, 0, cut) if rank == 0 else part_of(whole, cut, len(whole))
        results = {}
        for name in ARGUMENTS:
            if cut != 5 and objectives.get(name).distributed_kind is ReductionKind.LOCAL_MEAN:
                continue
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
        results = queue.get(timeout=120)
        queue.task_done()
    finally:
        for worker in workers:
            worker.join(30)
            if worker.is_alive():
                worker.kill()
    return results


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_value_and_gradient_of_two_processes_are_those_of_one(name, from_two_processes):
    if name not in from_two_processes:
        assert objectives.get(name).distributed_kind is ReductionKind.LOCAL_MEAN
        return
    value, gradient = run(name, whole_batch())
    there_value, there_gradient = (torch.from_numpy(t) for t in from_two_processes[name])
    assert torch.allclose(value, there_value, rtol=1e-12)
    assert torch.allclose(gradient, there_gradient, rtol=1e-10, atol=1e-12)


def test_gathering_puts_the_batches_in_order_of_rank(from_two_processes):
    gathered, untouched = from_two_processes["gathered"]
    assert torch.equal(torch.from_numpy(gathered), whole_batch().x) and bool(untouched)


def test_one_process_needs_no_gathering():
    x = torch.randn(3, 2)
    assert all(gather_batch(x, kind) is x for kind in ReductionKind) and local_weight(x) == 1.0
