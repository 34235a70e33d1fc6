"""Free directions against explicit Hessians, the interaction basis against everything it must not depend on."""

import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import erlangen as er
from erlangen.audit.degeneracy import InteractionBasis, degeneracy_report, modularity
from erlangen.audit.preserve import fingerprint

seeds = st.integers(0, 10_000)
few = settings(max_examples=8)


def mlp(
    seed: int, widths: tuple[int, ...] = (4, 7, 6, 3), act: type[nn.Module] = nn.Tanh, bias: bool = True
) -> nn.Sequential:
    torch.manual_seed(seed)
    parts: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        parts += [nn.Linear(a, b, bias=bias), act()]
    return nn.Sequential(*parts[:-1]).double()


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hessian_nullity(model: nn.Module, layer: nn.Linear, x: Tensor) -> int:
    """Of the behavioural loss, in the layer's weight and bias."""
    target = model(x).detach()
    name = next(n for n, m in model.named_modules() if m is layer)
    own = torch.cat([layer.weight.detach(), layer.bias.detach()[:, None]], 1)

    def loss(flat: Tensor) -> Tensor:
        w = flat.view_as(own)
        out = torch.func.functional_call(model, {f"{name}.weight": w[:, :-1], f"{name}.bias": w[:, -1]}, (x,))
        return (out - target).square().sum(1).mean()

    values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, own.flatten()))  # type: ignore[no-untyped-call]
    return int((values < 1e-9 * values.max()).sum())


@given(seeds, st.integers(1, 4), st.integers(1, 3))
@few
def test_in_a_linear_network_the_count_is_the_nullity_of_the_hessian(seed: int, seen: int, outputs: int) -> None:
    model = mlp(seed, (5, 6, 4, outputs), nn.Identity)
    x = normal(seed, 40, seen) @ normal(seed + 1, seen, 5)
    report = degeneracy_report(model, x)
    for name in ("0", "2", "4"):
        assert report[name].free == hessian_nullity(model, model.get_submodule(name), x)  # type: ignore[arg-type]
    assert report["0"].free == report["0"].by_inputs + report["0"].by_gradients
    assert report["0"].input_rank == seen + 1 and report["0"].gradient_rank == min(outputs, 4)


def test_the_example_of_six_by_five() -> None:
    model = nn.Sequential(nn.Linear(5, 6), nn.Linear(6, 2)).double()
    x = normal(0, 60, 2) @ normal(1, 2, 5)  # two directions and the constant: rank 3 of 6
    layer = degeneracy_report(model, x)["0"]
    assert (layer.inputs, layer.outputs, layer.input_rank, layer.gradient_rank) == (6, 6, 3, 2)
    assert layer.free == 36 - 6


@given(seeds)
@few
def test_a_convolution_counts_as_the_linear_map_of_its_patches(seed: int) -> None:
    torch.manual_seed(seed)
    conv = nn.Conv2d(2, 3, 2, stride=2).double()
    model = nn.Sequential(conv, nn.Flatten(), nn.Linear(12, 2).double())
    x = normal(seed, 50, 2, 4, 4)
    x[:, 1] = x[:, 0]  # two channels, one of them a copy
    layer = degeneracy_report(model, x)["0"]
    assert (layer.inputs, layer.input_rank) == (9, 5)
    assert layer.free >= 4 * 3


def test_relus_that_switch_together_are_found_and_other_activations_said_to_be_skipped() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(inplace=True), nn.Linear(6, 4)).double()
    with torch.no_grad():
        model[0].weight[1:3] = torch.tensor([[2.0], [0.5]]).double() * model[0].weight[0]
        model[0].bias[1:3] = torch.tensor([2.0, 0.5]).double() * model[0].bias[0]
        model[0].weight[5], model[0].bias[5] = 0, -1  # never on: dead, not synchronised
    layer = degeneracy_report(model, normal(0, 300, 3))["0"]
    assert layer.relu and layer.synchronised == [3] and layer.free_by_relu == 6
    bent = degeneracy_report(mlp(0), normal(0, 100, 4))["0"]
    assert not bent.relu and bent.synchronised == []


def test_random_wide_relu_units_are_not_synchronised() -> None:
    found = sum(
        bool(degeneracy_report(mlp(s, (4, 6, 3), nn.ReLU), normal(s, 400, 4))["0"].synchronised) for s in range(200)
    )
    assert found <= 10  # two units always on, or a rare coincidence


def test_a_dead_network_says_so() -> None:
    model = mlp(0, act=nn.ReLU)
    with torch.no_grad():
        model[4].weight.zero_()
    report = degeneracy_report(model, normal(0, 50, 4))
    assert report["0"].dead and report["0"].free == report["0"].parameters and not report["4"].dead
    with pytest.raises(ValueError, match="the same for all"):
        InteractionBasis(["1", "3"]).fit(model, normal(0, 50, 4))


def spaces(model: nn.Module, x: Tensor, layers: list[str], **options: object) -> dict[str, Tensor]:
    basis = InteractionBasis(layers, **options)  # type: ignore[arg-type]
    bases = basis.fit(model, x)
    held = basis.sections.activations(x)
    return {n: bases[n].features(held[n])[:, 0] for n in bases}


def same_up_to_sign(a: Tensor, b: Tensor, tolerance: float = 1e-8) -> bool:
    if a.shape != b.shape:
        return False
    sign = (a * b).sum(0).sign()
    return bool((a - b * sign).abs().max() <= tolerance * a.abs().max())


@given(seeds, st.sampled_from(["local", "global"]), st.sampled_from([1, "gauss-5"]))
@few
def test_the_basis_has_diagonal_covariance_and_unit_effect(seed: int, variant: str, integration: object) -> None:
    model, x = mlp(seed), normal(seed, 64, 4)
    basis = InteractionBasis(["1", "3"], variant=variant, integration=integration)  # type: ignore[arg-type]
    for name, b in basis.fit(model, x).items():
        f = b.features(basis.sections.activations(x)[name])[:, 0]
        assert torch.allclose(f.T @ f / len(x), torch.diag(b.eigenvalues), atol=1e-10 * float(b.eigenvalues[0]))
        assert torch.allclose(b.C_pinv @ b.C, torch.eye(b.rank).double(), atol=1e-8)
        assert int(torch.linalg.matrix_rank(b.C @ b.C_pinv)) == b.rank
        if name != "output":
            effect = b.C_pinv @ basis._effect(name) @ b.C_pinv.T
            assert torch.allclose(effect, torch.eye(b.rank).double(), atol=1e-7)


class Reread(nn.Module):
    """The identity, read through an invertible map in the middle."""

    def __init__(self, a: Tensor) -> None:
        super().__init__()
        self.cut, self.back = nn.Linear(len(a), len(a), bias=False), nn.Linear(len(a), len(a), bias=False)
        self.double()
        with torch.no_grad():
            self.cut.weight.copy_(a)
            self.back.weight.copy_(torch.linalg.inv(a))

    def forward(self, x: Tensor) -> Tensor:
        return self.back(self.cut(x))


@given(seeds)
@few
def test_an_invertible_map_between_the_layers_changes_nothing(seed: int) -> None:
    model, x = mlp(seed), normal(seed, 64, 4)
    turned = copy.deepcopy(model)
    a = normal(seed + 1, 7, 7) + 3 * torch.eye(7).double()
    turned.insert(2, Reread(a))
    before = spaces(model, x, ["1", "3"])
    after = spaces(turned, x, ["2.cut", "4"])
    assert same_up_to_sign(before["1"], after["2.cut"]) and same_up_to_sign(before["3"], after["4"])


@given(seeds)
@few
def test_a_duplicated_unit_changes_neither_rank_nor_features(seed: int) -> None:
    model, x = mlp(seed), normal(seed, 64, 4)
    wide = copy.deepcopy(model)
    order = torch.tensor([*range(7), 2])
    share = torch.tensor([1, 1, 0.3, 1, 1, 1, 1, 0.7]).double()
    wide[0].weight.data, wide[0].bias.data = model[0].weight[order].detach(), model[0].bias[order].detach()
    wide[2].weight.data = (model[2].weight[:, order] * share).detach()
    assert torch.allclose(wide(x), model(x))
    before, after = spaces(model, x, ["1", "3"]), spaces(wide, x, ["1", "3"])
    assert all(same_up_to_sign(before[n], after[n]) for n in before)


def two_blocks(seed: int) -> tuple[nn.Module, Tensor]:
    """Two networks that know nothing of each other, side by side, every layer scrambled by an invertible map."""
    a, b = mlp(seed, (3, 5, 4, 2)), mlp(seed + 1, (3, 5, 4, 2))
    whole = mlp(0, (6, 10, 8, 4))
    for p, q, r in zip(whole, a, b, strict=True):
        if isinstance(p, nn.Linear):
            p.weight.data = torch.block_diag(q.weight, r.weight).detach()
            p.bias.data = torch.cat([q.bias, r.bias]).detach()
    for place, width in ((4, 8), (2, 10)):
        scramble = normal(seed + place, width, width) + 2 * torch.eye(width).double()
        whole.insert(place, Reread(scramble))
    half, other = normal(seed, 20, 3), normal(seed + 2, 20, 3)
    x = torch.cat([half.repeat_interleave(20, 0), other.repeat(20, 1)], 1)  # exactly independent
    return whole, x


@given(seeds)
@settings(max_examples=4)
def test_two_scrambled_networks_are_taken_apart(seed: int) -> None:
    whole, x = two_blocks(seed)
    basis = InteractionBasis(["2.cut", "5.cut"], rtol=1e-12)  # what truncation drops of a scrambled layer is of both
    basis.fit(whole, x)
    edges = basis.edges()
    found = modularity(edges, null=0, seed=seed)
    assert found.q >= 0.45
    held = basis.sections.activations(x)
    block: dict[tuple[str, int], int] = {}
    for name, b in basis.bases.items():
        grid = b.features(held[name])[:, 0].unflatten(0, (20, 20))
        ours, theirs = grid.var(0).mean(0), grid.var(1).mean(0)  # over inputs of the first, of the second network
        assert (torch.minimum(ours, theirs) < 1e-6 * torch.maximum(ours, theirs)).all()
        block |= {(name, j): int(v) for j, v in enumerate(ours > theirs)}
    for (layer, to), matrix in edges.items():
        apart = torch.tensor([[block[to, i] != block[layer, j] for j in range(len(r))] for i, r in enumerate(matrix)])
        assert apart.any() and (matrix[apart] < 1e-6 * matrix.max()).all()
    assert all(len({block[node] for node in c}) == 1 for c in found.communities)


def test_planted_modules_stand_out_from_graphs_with_the_same_degrees() -> None:
    strength = torch.full((8, 8), 1e-3) + torch.block_diag(torch.ones(4, 4), torch.ones(4, 4))
    found = modularity({("a", "b"): strength, ("b", "c"): strength}, eps=1e-2, null=19)
    assert sorted(map(len, found.communities)) == [12, 12] and found.q == pytest.approx(0.5)
    assert found.p_value == 0.05


def test_graphs_without_modules_are_rarely_called_modular() -> None:
    generator = torch.Generator().manual_seed(0)
    called = 0
    for seed in range(200):
        on = torch.rand(6, 6, generator=generator) < 0.5
        edges = {("a", "b"): on * 10 ** (3 * torch.rand(6, 6, generator=generator))}
        called += modularity(edges, eps=1.0, null=19, seed=seed).p_value <= 0.05
    assert called <= 20  # 5 % of 200, and what chance adds to that at the level 0.001


def test_sequences_and_maps_have_features_too() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Conv2d(4, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 2)
    ).double()
    x = normal(0, 30, 1, 6, 6)
    basis = InteractionBasis(["1", "3"])
    bases = basis.fit(model, x)
    held = basis.sections.activations(x)
    b = bases["1"]
    assert basis.edges()[("1", "3")].shape == (bases["3"].rank, b.rank)
    back = b.activation(b.features(held["1"]), held["1"])
    assert back.shape == held["1"].shape and torch.allclose(back, held["1"], atol=1e-8)
    drawn = InteractionBasis(["1", "3"], probes=200).fit(model, x)
    assert torch.allclose(drawn["1"].eigenvalues, b.eigenvalues, rtol=0.25)


@given(seeds)
@few
def test_units_and_offsets_of_the_inputs_do_not_make_directions_free(seed: int) -> None:
    x = normal(seed, 60, 4)
    moved = x * torch.tensor([0.1, 1.0, 5e2, 1e3]).double() + torch.tensor([0.0, 1e4, -1e4, 3.0]).double()
    model = mlp(seed, (4, 6, 2), nn.Identity)
    assert degeneracy_report(model, moved)["0"].input_rank == 5
    moved[:, 1] = 7.0
    assert degeneracy_report(model, moved)["0"].input_rank == 4
    moved[:, 0] = 0.2 * moved[:, 2] - moved[:, 3]
    assert degeneracy_report(model, moved)["0"].input_rank == 3


def test_a_layer_that_no_output_depends_on_is_dead_and_other_outputs_are_looked_through() -> None:
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(4, 3), nn.Linear(4, 5)

        def forward(self, x: Tensor) -> dict[str, object]:
            self.unused(x)
            return {"first": (self.used(x), x), "second": x}

    report = degeneracy_report(Nested().double(), normal(0, 50, 4))
    assert report["unused"].dead and not report["used"].dead and report["used"].free == 0
    assert InteractionBasis(["used"]).fit(Nested().double(), normal(0, 50, 4))["used"].rank == 3
    alone = degeneracy_report(nn.Conv2d(1, 2, 2).double(), normal(0, 9, 1, 3, 3))[""]
    assert (alone.inputs, alone.outputs) == (5, 2)


def test_what_is_refused() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> str:
            return str(self.a(x))

    with pytest.raises(ValueError, match="model: it must put out a tensor"):
        degeneracy_report(Words().double(), normal(0, 8, 4))
    with pytest.raises(ValueError, match="'0' are not finite"):
        degeneracy_report(mlp(0), torch.full((8, 4), np.nan).double())

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x)) + x

    with pytest.raises(ValueError, match="goes around"):
        InteractionBasis(["a"]).fit(Around(), torch.randn(8, 4))
    for options in ({"rtol": 0.0}, {"probes": -1}):
        with pytest.raises(ValueError, match=next(iter(options))):
            InteractionBasis("*", **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fit"):
        InteractionBasis("*").edges()
    with pytest.raises(ValueError, match="linear or convolutional"):
        degeneracy_report(nn.ReLU(), torch.randn(3, 3))
    with pytest.raises(ValueError, match="edges"):
        modularity({("a", "b"): -torch.ones(2, 2)})
    with pytest.raises(ValueError, match="eps"):
        modularity({("a", "b"): torch.ones(2, 2)}, eps=3.0)
    with pytest.raises(ValueError, match="finite"):
        InteractionBasis(["0"]).fit(mlp(0), torch.full((8, 4), np.nan).double())


def test_the_probe_names_the_causes_and_leaves_the_model_alone() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))
    x = torch.randn(300, 2) @ torch.randn(2, 6)
    before = fingerprint(model)
    report = er.audit(model, (x, torch.arange(300) % 3), probes=["degeneracy"])  # type: ignore[operator]
    assert fingerprint(model) == before
    first = report["degeneracy.free_share", "0"]
    assert first.details["input_rank"] == 3 and first.details["by_inputs"] == 4 * 8 and first.figure is not None
    assert first.verdict == "info" and report["degeneracy.modularity"].verdict == "info"
    with torch.no_grad():
        model[4].weight.zero_()
    dead = er.audit(model, (x, torch.arange(300) % 3), probes=["degeneracy"])  # type: ignore[operator]
    assert dead["degeneracy.free_share", "0"].verdict == "fail"
    assert dead["degeneracy.modularity"].verdict == "not_applicable"
    assert "None of the" not in first.meaning
    model[0].bfloat16(), model[2].bfloat16(), model[4].bfloat16()
    half = er.audit(model, (x, torch.arange(300) % 3), probes=["degeneracy"])  # type: ignore[operator]
    assert half["degeneracy.free_share", "0"].details["input_rank"] == 3
    model.float()
    few_rows = er.audit(model, (x[:12], torch.arange(12) % 3), probes=["degeneracy"])  # type: ignore[operator]
    assert few_rows["degeneracy.free_share", "4"].verdict == "inconclusive"
    assert few_rows["degeneracy.free_share", "4"].needs_samples == 24
