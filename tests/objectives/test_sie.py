"""The loss of SIE against a loop, its limits, its codes, and fits on images and on rendered objects."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from erlangen import data, objectives, train
from erlangen.data.mesh import voxel_mesh
from erlangen.groups import SO, parse, rotations
from erlangen.nn.hyper import HyperPredictor
from erlangen.nn.images import PlainCNN
from erlangen.objectives import GroupCode, functional
from erlangen.objectives.group_codes import canonical_quaternion


def views(n: int, inv: int, eq: int, seed: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, dtype=torch.float64, generator=generator).to(dtype) for d in (inv, eq, inv, eq, eq)]


def spread(columns: list[list[float]]) -> float:
    total = 0.0
    for column in columns:
        mean = sum(column) / len(column)
        variance = sum((v - mean) ** 2 for v in column) / (len(column) - 1)
        total += max(0.0, 1 - math.sqrt(variance + 1e-4))
    return total / len(columns)


def repeated(columns: list[list[float]]) -> float:
    n, d, total = len(columns[0]), len(columns), 0.0
    means = [sum(column) / n for column in columns]
    for i in range(d):
        for j in range(d):
            if i != j:
                c = sum((columns[i][k] - means[i]) * (columns[j][k] - means[j]) for k in range(n)) / (n - 1)
                total += c * c
    return total / d


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 5), st.integers(1, 3), st.integers(1, 3), st.integers(0, 99))
def test_the_loss_is_that_of_a_loop(n: int, inv: int, eq: int, seed: int) -> None:
    a_inv, a_eq, b_inv, b_eq, guess = views(n, inv, eq, seed)
    terms = functional.sie((a_inv, a_eq), (b_inv, b_eq), guess)
    columns = [torch.cat(pair, 1).T.tolist() for pair in ((a_inv, a_eq), (b_inv, b_eq))]
    same = sum((a_inv[k, j] - b_inv[k, j]).item() ** 2 for k in range(n) for j in range(inv)) / (n * inv)
    moved = sum((guess[k, j] - b_eq[k, j]).item() ** 2 for k in range(n) for j in range(eq)) / (n * eq)
    wanted = 10 * (same + 0.45 * moved) + 10 * (spread(columns[0]) + spread(columns[1])) / 2
    wanted += 10 * spread(guess.T.tolist()) / 2 + repeated(columns[0]) + repeated(columns[1])
    assert float(terms.total) == pytest.approx(wanted, rel=1e-10)
    low = functional.sie(*[tuple(t.float() for t in p) for p in ((a_inv, a_eq), (b_inv, b_eq))], guess.float())
    assert float(low.total) == pytest.approx(wanted, rel=1e-4)


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 6), st.integers(2, 5), st.integers(0, 99))
def test_without_an_equivariant_half_it_is_vicreg(n: int, dim: int, seed: int) -> None:
    a, _, b, _, _ = views(n, dim, 0, seed)
    none = a.new_zeros(n, 0)
    ours = functional.sie((a, none), (b, none), none, sim=25.0, std=25.0)
    torch.testing.assert_close(ours.total, functional.vicreg(a, b).total, rtol=0, atol=0)
    torch.manual_seed(0)
    sie = objectives.SIE(25.0, 0.0, 25.0, split=0, width=8)
    torch.manual_seed(0)
    vicreg = objectives.VICReg(width=8)
    for objective in (sie, vicreg):
        objective.setup(embedding_dim=dim)
        objective.double()
    sie.projector.invariant.load_state_dict(
        {k: v for k, v in vicreg.expander.state_dict().items() if k in sie.projector.invariant.state_dict()},
    )
    batch = data.PairBatch(a, b, g=SO(2).sample((n,), generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(sie(nn.Identity(), batch).total, vicreg(nn.Identity(), batch).total)


def test_the_gradient_is_right() -> None:
    inputs = [t.requires_grad_() for t in views(4, 2, 3, 1)]
    assert torch.autograd.gradcheck(lambda a, b, c, d, e: functional.sie((a, b), (c, d), e).total, inputs)


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from(["C8", "D4", "SO(2)", "O(2)", "SO(3)"]), st.sampled_from(["irreps", "matrix"]), st.integers(0, 99)
)
def test_codes_tell_elements_apart_and_know_their_size(name: str, kind: str, seed: int) -> None:
    group = parse(name)
    code = GroupCode(group, kind)
    one, two = (group.sample((40,), generator=torch.Generator().manual_seed(s)) for s in (seed, seed + 100))
    apart = group.distance(one, two) > 1e-3
    assert bool((((code(one) - code(two)).abs().amax(1) > 1e-5) == apart).all())
    assert code(one).shape == (40, code.dim) and code.dim == GroupCode(group, kind).dim
    assert float(code(one).square().mean().sqrt()) == pytest.approx(code.scale, rel=0.2)


def test_the_code_of_spatial_rotations_is_irreps_0_to_2() -> None:
    assert GroupCode(SO(3), "irreps").dim == 35 and GroupCode(SO(3), "matrix").dim == 9
    assert GroupCode(SO(3), "irreps", degree=1).dim == 10


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999), st.sampled_from(["irreps", "matrix", "quat"]))
def test_both_quaternions_of_a_rotation_have_one_code_and_raw_ones_opposite_predictions(seed: int, kind: str) -> None:
    q = torch.nn.functional.normalize(torch.randn(5, 4, generator=torch.Generator().manual_seed(seed)), dim=1)
    code = GroupCode(SO(3), kind)
    torch.testing.assert_close(code(q), code(-q), rtol=0, atol=1e-6)
    torch.testing.assert_close(code(q), code(rotations.from_quaternion(q)), rtol=0, atol=1e-5)
    predictor, z = HyperPredictor(3, 4), torch.randn(5, 3)
    assert torch.equal(predictor(z, q), -predictor(z, -q))


def test_half_turns_have_one_quaternion() -> None:
    half = torch.tensor([[0.0, 0.6, -0.8, 0.0], [0, 0, -1, 0], [0, 0, 0, -1], [-0.5, 0.5, 0.5, 0.5]])
    wanted = torch.tensor([[0.0, 0.6, -0.8, 0.0], [0, 0, 1, 0], [0, 0, 0, 1], [0.5, -0.5, -0.5, -0.5]])
    torch.testing.assert_close(canonical_quaternion(half), wanted)
    torch.testing.assert_close(canonical_quaternion(-half), wanted)


def test_a_representation_is_learned_and_its_code_is_used() -> None:
    """Vectors that turn with g: least squares on the predictor's weights leaves no error, and wrong codes are worse."""
    generator = torch.Generator().manual_seed(0)
    objective = objectives.SIE(split=6, layers=0, group="SO(3)", code="irreps").eval()
    objective.setup(embedding_dim=8)
    objective.double()
    g = SO(3).sample((400,), generator=generator)
    z = torch.randn(400, 2, 3, dtype=torch.float64, generator=generator)
    second = (z @ g.double().mT).flatten(1)
    code = objective.encode(g).double()
    design = (code[:, :, None] * z.flatten(1)[:, None]).flatten(1)
    solved = torch.linalg.lstsq(design, second, driver="gelsd").solution
    with torch.no_grad():
        objective.predictor.linear.weight.copy_(solved.view(code.shape[1], 6, 6).mT)
    torch.testing.assert_close(objective.predict_second(z.flatten(1), g), second, rtol=0, atol=1e-5)
    stays = torch.randn(400, 2, dtype=torch.float64)
    batch = data.PairBatch(torch.cat([stays, z.flatten(1)], 1), torch.cat([stays, second], 1), g=g)
    assert float(objective.metrics(nn.Identity(), batch)["wrong_code_ratio"].detach()) > 1000


def test_collapse_shows_in_every_term() -> None:
    objective = objectives.SIE(split=2, layers=0)
    objective.setup(embedding_dim=4)
    batch = data.PairBatch(torch.ones(6, 4), torch.ones(6, 4), g=SO(2).identity((6,)))
    terms = objective(nn.Identity(), batch)
    for name in ("variance", "variance_predicted"):
        assert float(terms[name]) == pytest.approx(0.99, abs=1e-5)
    assert float(terms["invariance"]) == 0 and float(objective.metrics(nn.Identity(), batch)["embedding_std"]) == 0
    assert set(terms) <= set(objective.healthy)


class Flat(nn.Module):
    embedding_dim = 8

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(inner, 32), nn.ReLU(), nn.Linear(32, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


@pytest.mark.parametrize("group", ["C8", "SO(2)", "O(2)"])
def test_it_fits_images_of_ones_own(group: str) -> None:
    x = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    run = train.fit(
        Flat(64),
        x,
        objective=objectives.SIE(group=group, width=16),
        symmetry=group,
        epochs=1,
        batch_size=10,
        val_fraction=0.25,
        quiet=True,
    )
    assert {"train/equivariance", "val/wrong_code_ratio", "val/embedding_std"} <= set(run.metrics)


def test_it_fits_rendered_objects_with_their_own_pairs() -> None:
    box = voxel_mesh(torch.ones(1, 2, 3, dtype=torch.bool)).normalized()
    boxes = data.RotatedObjects.from_meshes([box] * 5, views=6, size=8)
    goal = objectives.SIE(group="SO(3)", code="matrix", width=16)
    run = train.fit(Flat(64), boxes, objective=goal, epochs=2, batch_size=12, quiet=True)
    assert math.isfinite(run.metrics["train/equivariance"]) and "test/wrong_code_ratio" in run.metrics


def test_a_run_that_broke_off_goes_on_to_the_same_weights(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def run(folder: str) -> train.Run:
        torch.manual_seed(0)
        encoder, goal = PlainCNN(4, in_channels=1, embedding_dim=8), objectives.SIE(width=16)
        arguments = {"epochs": 2, "batch_size": 8, "val_fraction": 0.0, "save_every_steps": 1, "quiet": True}
        return train.fit(encoder, x, objective=goal, out=tmp_path / folder, **arguments)

    def fail(self: objectives.SIE, encoder: nn.Module, *, step: int, total_steps: int) -> None:
        if step == 3:
            raise RuntimeError("power cut")

    whole = run("whole")
    with monkeypatch.context() as patch:
        patch.setattr(objectives.SIE, "after_step", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            run("broken")
    again = run("broken")
    for name, value in whole.encoder.state_dict().items():
        assert torch.equal(again.encoder.state_dict()[name], value)
    for name, value in whole.objective.state_dict().items():
        assert torch.equal(again.objective.state_dict()[name], value)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="quat"):
        objectives.SIE(group="SO(2)", code="quat")
    code = GroupCode(SO(3))
    with pytest.raises(ValueError, match="quaternion 1 has length 2"):
        code(torch.tensor([[1.0, 0, 0, 0], [0, 2, 0, 0]]))
    with pytest.raises(ValueError, match="element 0 is not in SO"):
        code(torch.full((2, 3, 3), math.nan))
    objective = objectives.SIE(split=4, group="SO(3)")
    with pytest.raises(ValueError, match="split"):
        objective.setup(embedding_dim=4)
    objective = objectives.SIE()
    objective.setup(embedding_dim=4)
    with pytest.raises(ValueError, match="batch"):
        objective(nn.Identity(), data.PairBatch(torch.zeros(3, 4), torch.zeros(3, 4)))
    with pytest.raises(ValueError, match="equi"):
        objectives.SIE(equi=-1.0)
