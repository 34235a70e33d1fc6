"""One call for many inputs gives what single calls give, and is not used where batch entries are mixed."""

import pytest
import torch

import erlangen as er
from erlangen.testing.batched import outputs_in_one_call
from erlangen.testing.runner import Runner


def small(last=None):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), *([last] if last else []))


class MinusBatchMean(torch.nn.Module):
    def forward(self, x):
        return x - x.mean(0)


class Shifted(torch.nn.Module):
    def forward(self, x):
        return x + 0.1 * x.roll(1, 0)


class OneSizeOnly(torch.nn.Module):
    def forward(self, x):
        return x.view(4, 8)


def asked(model, seed=None):
    runner = Runner(model, torch.float64, keyword=False, numpy=False)
    inputs = [(torch.randn(4, 3, dtype=torch.float64),) for _ in range(5)]
    return outputs_in_one_call(runner, inputs[0], runner(inputs[0], seed=seed), inputs[1:], seed=seed), runner, inputs


def test_equals_single_calls():
    together, runner, inputs = asked(small().eval())
    assert together is not None and runner.calls == 2
    for got, one in zip(together, inputs[1:], strict=True):
        torch.testing.assert_close(got, runner(one), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    "last", [MinusBatchMean(), Shifted(), OneSizeOnly(), torch.nn.Dropout(), torch.nn.BatchNorm1d(8)]
)
def test_never_gives_what_single_calls_do_not_give(last):
    together, runner, inputs = asked(small(last).train(), seed=0)
    assert "batch" in runner.refused or together is None
    for got, one in zip(together or [], inputs[1:], strict=False):
        torch.testing.assert_close(got, runner(one, seed=0), rtol=1e-13, atol=1e-13)


def test_a_batch_that_is_mixed_gets_the_right_verdict():
    class Centred(torch.nn.Module):
        def forward(self, x):
            return (x - x.mean(0, keepdim=True)).square().sum((-2, -1))

    class Normed(torch.nn.Module):
        def forward(self, x):
            return x.square().sum((-2, -1))

    x = torch.randn(4, 5, 3)
    symmetry = er.Symmetry("SO(3)", input="points", output="invariant")
    for model in (Centred(), Normed()):
        assert er.check(model, symmetry, x).verdict == "exact"


def test_a_check_takes_few_calls():
    class Counted(torch.nn.Module):
        calls = 0

        def __init__(self):
            super().__init__()
            self.net = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.SiLU(), torch.nn.Linear(32, 4))

        def forward(self, x):
            Counted.calls += 1
            return self.net((x @ x.mT).flatten(1))

    assert er.check(Counted().eval(), er.Symmetry("O(3)"), torch.randn(3, 4, 3)).verdict == "exact"
    assert Counted.calls < 50
