"""The teacher follows by the stated average, the queue keeps the last vectors in order."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.objectives import EMATeacher, FeatureQueue


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))


@settings(max_examples=10, deadline=None)
@given(st.floats(0, 1), st.integers(1, 5))
def test_the_teacher_is_the_stated_average(alpha: float, steps: int) -> None:
    torch.manual_seed(0)
    student = network().double()
    teacher = EMATeacher(student, alpha)
    wanted = [p.detach().clone() for p in student.parameters()]
    for _ in range(steps):
        with torch.no_grad():
            for p in student.parameters():
                p.add_(torch.randn_like(p))
        teacher.update(student)
        wanted = [alpha * w + (1 - alpha) * p.detach() for w, p in zip(wanted, student.parameters(), strict=True)]
    for p, w in zip(teacher.module.parameters(), wanted, strict=True):
        torch.testing.assert_close(p, w, rtol=1e-12, atol=1e-12)
        assert not p.requires_grad


def test_alpha_rises_to_one_by_a_cosine_and_survives_a_checkpoint() -> None:
    student = network()
    teacher = EMATeacher(student, 0.9, schedule="cosine", total_steps=10)
    seen = []
    for _ in range(10):
        seen.append(teacher.current_alpha)
        teacher.update(student)
    assert seen[0] == pytest.approx(0.9) and seen == sorted(seen) and seen[5] == pytest.approx(0.95)
    assert teacher.current_alpha == 1.0
    again = EMATeacher(network(), 0.9, schedule="cosine", total_steps=10)
    again.load_state_dict(teacher.state_dict())
    assert again.current_alpha == 1.0


def test_a_teacher_with_alpha_one_never_moves_and_keeps_its_own_statistics() -> None:
    student = network()
    teacher = EMATeacher(student, 1.0)
    before = {k: v.clone() for k, v in teacher.module.named_parameters()}
    student(torch.randn(8, 3) + 5)
    with torch.no_grad():
        student[0].weight.add_(1.0)
    teacher.update(student)
    assert all(torch.equal(v, before[k]) for k, v in teacher.module.named_parameters())
    assert not torch.equal(teacher.module[1].running_mean, student[1].running_mean)
    assert not teacher(torch.randn(2, 3)).requires_grad
    with pytest.raises(ValueError, match="student"):
        teacher.update(torch.nn.Linear(3, 4))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 7), st.lists(st.integers(0, 9), max_size=6))
def test_the_queue_holds_exactly_the_last_vectors(size: int, batches: list[int]) -> None:
    queue = FeatureQueue(size, 2)
    everything = torch.zeros(0, 2)
    for number in batches:
        rows = torch.arange(len(everything), len(everything) + number).float()[:, None].expand(-1, 2)
        queue.push(rows.clone().requires_grad_())
        everything = torch.cat([everything, rows])
        assert torch.equal(queue.contents(), everything[-size:]) and len(queue) == min(size, len(everything))
        assert not queue.contents().requires_grad
    again = FeatureQueue(size, 2)
    again.load_state_dict(queue.state_dict())
    assert torch.equal(again.contents(), queue.contents())


def test_a_poisoned_batch_is_refused_as_a_whole() -> None:
    queue = FeatureQueue(4, 2)
    queue.push(torch.ones(2, 2))
    for bad in (torch.tensor([[1.0, 2.0], [float("nan"), 0.0]]), torch.ones(2, 3)):
        with pytest.raises(ValueError, match="features"):
            queue.push(bad)
    assert torch.equal(queue.contents(), torch.ones(2, 2))
    assert len(FeatureQueue(4, 2, init="normal")) == 4


@pytest.mark.parametrize("arguments", [{"alpha": 1.5}, {"schedule": "cosine"}])
def test_bad_arguments_of_the_teacher(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"alpha|total_steps"):
        EMATeacher(network(), **arguments)  # type: ignore[arg-type]
