"""LARS against the formula written out, and what it leaves alone."""

import torch

from erlangen.train.lars import LARS


def test_two_steps_by_hand() -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    p, b = torch.nn.Parameter(weight.clone()), torch.nn.Parameter(bias.clone())
    optimizer = LARS([p, b], 0.3, momentum=0.8, weight_decay=0.05, eta=0.02)
    momentum, bias_momentum = torch.zeros_like(weight), torch.zeros_like(bias)
    for _ in range(2):
        p.grad, b.grad = torch.randn_like(weight), torch.randn_like(bias)
        update = p.grad + 0.05 * weight
        momentum = 0.8 * momentum + 0.02 * weight.norm() / update.norm() * update
        bias_momentum = 0.8 * bias_momentum + b.grad
        weight, bias = weight - 0.3 * momentum, bias - 0.3 * bias_momentum
        optimizer.step()
        torch.testing.assert_close(p.detach(), weight)
        torch.testing.assert_close(b.detach(), bias)


def test_a_zero_weight_still_learns() -> None:
    p = torch.nn.Parameter(torch.zeros(2, 2))
    p.grad = torch.ones(2, 2)
    LARS([p], 0.1).step()
    assert bool((p == -0.1).all())
