"""A vocabulary that two processes keep is the one of a single process, also after both were stopped and loaded again."""

import socket

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from erlangen.objectives import BoWTargets, FeatureQueue
from erlangen.objectives.distributed import ReductionKind, gather_batch

STEPS, WORDS, DIM = 5, 11, 3


def features(step):
    """A batch of six maps with a single 3 x 3 window, so that the place of a word is no matter of chance."""
    return torch.randn(6, DIM, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(step))


def fresh():
    generator = torch.Generator().manual_seed(9)
    return BoWTargets(WORDS, DIM, border=0, generator=generator).double(), FeatureQueue(WORDS, DIM).double()


def steps(targets, queue, which, cut):
    bags = []
    for step in which:
        maps = features(step)[cut]
        bags.append(targets(maps))
        queue.push(gather_batch(maps.mean((-2, -1)), ReductionKind.GATHER_NEGATIVES))
    return bags


def process(rank, port, results):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    try:
        cut = slice(0, 2) if rank == 0 else slice(2, 6)  # unequal parts
        targets, queue = fresh()
        bags = steps(targets, queue, range(2), cut)
        states = [module.state_dict() for module in (targets, queue)]
        targets, queue = fresh()
        for module, state in zip((targets, queue), states, strict=True):
            module.load_state_dict(state)
        bags += steps(targets, queue, range(2, STEPS), cut)
        results.put(
            (rank, targets.words.numpy(), float(targets.mean_distance), queue.contents().numpy(), bags[-1].numpy())
        )
        results.join()
    finally:
        dist.destroy_process_group()


def test_two_processes_keep_the_vocabulary_of_one():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = mp.get_context("spawn")
    results = context.JoinableQueue()
    workers = [context.Process(target=process, args=(rank, port, results)) for rank in range(2)]
    for worker in workers:
        worker.start()
    try:
        found = {}
        for _ in range(2):
            rank, *rest = results.get(timeout=100)
            found[rank] = rest
        results.task_done(), results.task_done()
    finally:
        for worker in workers:
            worker.join(30)
            if worker.is_alive():
                worker.kill()
    targets, queue = fresh()
    bags = steps(targets, queue, range(STEPS), slice(None))
    for rank, cut in ((0, slice(0, 2)), (1, slice(2, 6))):
        words, distance, contents, last = found[rank]
        assert torch.equal(torch.from_numpy(words), targets.words)
        assert abs(distance - float(targets.mean_distance)) < 1e-14
        assert torch.equal(torch.from_numpy(contents), queue.contents())
        assert torch.allclose(torch.from_numpy(last), bags[-1][cut], rtol=1e-12)
