"""Critical initialisation: signals through a hundred layers, fluctuations on one line in depth over width, training."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from erlangen import data
from erlangen.audit.theory import criticality, four_point, init_critical_, sample_networks
from erlangen.audit.theory.profile import profile
from erlangen.recipes.claim import Claim
from erlangen.recipes.recipe import Budget, recipe
from erlangen.train import fit_ensemble

STAGES: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}
LAYERS = {"smoke": 20, "laptop": 100, "full": 100}
WIDTH = {"smoke": 64, "laptop": 384, "full": 1024}
NETWORKS = {"smoke": 500, "laptop": 4_000, "full": 40_000}
STEPS = {"smoke": 20, "laptop": 150, "full": 600}
WIDTHS = (32, 64, 128)
RATIO = 0.125
TRAINED_DEPTH = 24
NARROW, WIDE = 8, 96


@recipe(
    "critical_initialisation",
    title="Principles of deep learning theory: criticality, fluctuations, depth over width",
    source="arXiv:2106.10165",
    claims=[
        Claim("ReLU at criticality: signals change by less than a factor e^3", "relu.signal", "below", 3.0),
        Claim("ReLU at criticality: gradients change by less than a factor e^3", "relu.gradient", "below", 3.0),
        Claim("GELU at criticality: signals change by less than a factor e^3", "gelu.signal", "below", 3.0),
        Claim("GELU at criticality: gradients change by less than a factor e^3", "gelu.gradient", "below", 3.0),
        Claim("tanh at criticality: signals shrink as theory says", "tanh.signal_off_theory", "below", 1.0),
        Claim("ReLU with torch's default weights: gradients vanish by more than e^20", "relu.default", "above", 20.0),
        Claim("ReLU with 1.5 times the critical variance: gradients explode", "relu.above", "above", 20.0),
        Claim("fluctuations at one depth over width agree at three widths", "line.spread", "below", 0.15),
        Claim("fluctuations are those of the vertex", "line.off_theory", "below", 0.15),
        Claim(
            "a critical deep network learns more than one with default weights",
            "wide.critical",
            "above",
            "wide.default",
        ),
        Claim("at equal depth, a narrow network learns less", "wide.critical", "above", "narrow.critical"),
        Claim(
            "with default weights the wide network stays below twice chance",
            "wide.default",
            "below",
            0.2,
            control=True,
        ),
    ],
    uses=[
        "erlangen.audit.theory.initialise",
        "erlangen.audit.theory.tuning",
        "erlangen.audit.theory.vertex",
        "erlangen.audit.theory.sampling",
    ],
    laptop_seeds=5,
    explanation=(
        "`signal` and `gradient` are the absolute logarithms of how much mean squares change from one end of the "
        "network to the other. `line.spread` is the relative spread of `V / (n K^2)` over widths 32, 64 and 128 at "
        "depth over width 1/8, `line.off_theory` its distance from the vertex at that width. Accuracies are on test "
        "digits after a few steps of plain gradient descent with the best of five rates each, depth 24."
    ),
)
def measure(budget: Budget, seed: int) -> dict[str, float]:
    """Networks as initialised, conditional Monte Carlo of fluctuations, and a short training."""
    numbers: dict[str, float] = {}
    for name in STAGES:
        numbers |= _through_depth(name, budget, seed)
    return numbers | _fluctuations(budget, seed) | _trained(budget, seed)


def _network(name: str, inputs: int, width: int, depth: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(inputs, width)]
    for _ in range(depth - 2):
        layers += [STAGES[name](), nn.Linear(width, width)]
    return nn.Sequential(*layers, STAGES[name](), nn.Linear(width, outputs))


def _through_depth(name: str, budget: Budget, seed: int) -> dict[str, float]:
    depth, width = LAYERS[budget], WIDTH[budget]
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(16, width, generator=generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _network(name, width, width, depth, width)
    numbers = {}
    if name == "relu":
        numbers["relu.default"] = -_growth(net, x, generator)[1]
    init_critical_(net, x, generator=generator)
    signal, gradient, off = _growth(net, x, generator)
    numbers |= {f"{name}.signal": abs(signal), f"{name}.gradient": abs(gradient)}
    if name == "tanh":
        numbers["tanh.signal_off_theory"] = off
    if name == "relu":
        with torch.no_grad():
            for p in net.parameters():
                p.mul_(math.sqrt(1.5))
        numbers["relu.above"] = _growth(net, x, generator)[1]
    return numbers


def _growth(net: nn.Module, x: Tensor, generator: torch.Generator) -> tuple[float, float, float]:
    """`ln` of the growth of signals forwards and of gradients backwards; the signals' distance from theory."""
    found = profile(net, x, generator=generator)
    signal, gradient = found.signal.mean(1), found.gradient.mean(1)
    tiny = 1e-300
    forwards = math.log(max(float(signal[-1]), tiny) / max(float(signal[0]), tiny))
    backwards = math.log(max(float(gradient[0]), tiny) / max(float(gradient[-1]), tiny))
    # tanh: K after l layers is 1 / (2 l) once it is small
    expected = math.log(1 / (2 * len(signal)) / float(signal[0]))
    return forwards, backwards, abs(forwards - expected)


def _fluctuations(budget: Budget, seed: int) -> dict[str, float]:
    """`V / (n K^2)` of ReLU networks at one ratio of depth to width, and what the vertex says."""
    tuned = criticality("relu")
    measured, theory = [], []
    for width in WIDTHS:
        depth = int(RATIO * width) + 1
        square, fourth = sample_networks(
            "relu",
            depth,
            width,
            NETWORKS[budget],
            C_b=tuned.C_b,
            C_W=tuned.C_W,
            generator=torch.Generator().manual_seed(1000 * seed + width),
            dtype=torch.float32,
        )[:, -1].double()
        own = fourth.mean() - square.mean() ** 2
        vertex = (square.var() - own / width) / (1 - 1 / width)
        measured.append(float(vertex / square.mean() ** 2))
        theory.append(float(four_point("relu", depth, width).fluctuation[-1]))
    found = torch.tensor(measured)
    return {
        "line.spread": float(found.std() / found.mean()),
        "line.off_theory": max(abs(m / t - 1) for m, t in zip(measured, theory, strict=True)),
        **{f"line.{width}": value for width, value in zip(WIDTHS, measured, strict=True)},
    }


def _trained(budget: Budget, seed: int) -> dict[str, float]:
    """Test accuracy on digits of deep networks, the best of five rates, all rates trained together."""
    digits = data.load("digits")
    train, test = digits.train.tensors(), digits.test.tensors()
    kept = 300 if budget == "smoke" else len(train[0])
    x, y = train[0][:kept].flatten(1), train[1][:kept]
    mean, std = x.mean(), x.std()
    rates = [0.003, 0.01, 0.03, 0.1, 0.3]
    numbers = {}
    for size, width in (("narrow", NARROW), ("wide", WIDE)):
        for how in ("critical", "default"):
            if (size, how) == ("narrow", "default"):
                continue
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                net = _network("relu", x.shape[1], width, TRAINED_DEPTH, 10)
            if how == "critical":
                init_critical_(net, (x[:64] - mean) / std, generator=torch.Generator().manual_seed(seed))
            run = fit_ensemble(
                [net] * len(rates),
                (x - mean) / std,
                y,
                steps=STEPS[budget],
                batch_size=64,
                lr=rates,
                optimizer="sgd",
                seeds=seed,
            )
            logits = run.ensemble((test[0].flatten(1) - mean) / std)
            numbers[f"{size}.{how}"] = float((logits.argmax(2) == test[1]).double().mean(1).max())
    return numbers
