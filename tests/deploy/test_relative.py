"""Relative representations: what they forget, what they keep, anchors, stitching."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.audit.latent_similarity import latent_similarity
from erlangen.deploy.compat import AnchorSet, RelativeProjection, relative, stitch


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def rotation(d, seed=0):
    return torch.linalg.qr(draw(d, d, seed=seed)).Q


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("similarity", ["cosine", "geodesic"])
@given(d=st.integers(2, 7), seed=st.integers(0, 999))
def test_rotations_and_positive_factors_drop_out(dtype, tolerance, similarity, d, seed):
    x, a = draw(9, d, seed=seed).to(dtype), draw(5, d, seed=seed + 1).to(dtype)
    q = rotation(d, seed).to(dtype)
    scale = torch.rand(9, 1, generator=torch.Generator().manual_seed(seed)).to(dtype) + 0.5
    first = RelativeProjection(a, similarity=similarity)(x)
    second = RelativeProjection(2.0 * a @ q, similarity=similarity)(scale * x @ q)
    slack = 50 if similarity == "geodesic" else 1  # arccos is steep at the ends
    assert torch.allclose(first, second, atol=slack * tolerance, rtol=0) and float(first.abs().max()) <= 1


@given(seed=st.integers(0, 999))
def test_centring_forgets_translations_and_whitening_every_affine_map(seed):
    x, a, t = draw(9, 4, seed=seed), draw(12, 4, seed=seed + 1), draw(4, seed=seed + 2)
    q = rotation(4, seed)
    plain = RelativeProjection(a)(x)
    assert not torch.allclose(RelativeProjection(a + t)(x + t), plain, atol=1e-3)
    centred = RelativeProjection(a, center=True)(x)
    assert torch.allclose(RelativeProjection(3 * a @ q + t, center=True)(3 * x @ q + t), centred, atol=1e-11)
    m = rotation(4, seed + 5) @ torch.diag(torch.tensor([3.0, 1.0, 0.5, 0.2]).double()) @ q
    white = RelativeProjection(a, whiten=True)(x)
    assert torch.allclose(RelativeProjection(a @ m + t, whiten=True)(x @ m + t), white, atol=1e-9)
    assert not torch.allclose(RelativeProjection(a @ m, center=True)(x @ m), centred, atol=1e-3)


@given(seed=st.integers(0, 999))
def test_values_agree_with_loops_and_permuting_anchors_permutes_coordinates(seed):
    x, a = draw(4, 3, seed=seed), draw(5, 3, seed=seed + 1)
    got, order = RelativeProjection(a)(x), torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    for i, row in enumerate(x.tolist()):
        for j, anchor in enumerate(a.tolist()):
            dot = sum(u * v for u, v in zip(row, anchor, strict=True))
            norms = (sum(u * u for u in row) * sum(v * v for v in anchor)) ** 0.5
            assert float(got[i, j]) == pytest.approx(dot / norms, abs=1e-12)
    assert torch.allclose(RelativeProjection(a[order])(x), got[:, order], atol=1e-14)
    assert torch.allclose(relative(x, a), got, atol=1e-14)


def test_the_anchors_see_their_own_gram_matrix():
    a = draw(6, 4)
    gram = RelativeProjection(a)(a)
    assert torch.allclose(gram, gram.T) and torch.allclose(gram.diagonal(), torch.ones(6).double())
    assert float(torch.linalg.eigvalsh(gram).min()) > -1e-12


@given(seed=st.integers(0, 999))
def test_enough_anchors_determine_the_direction(seed):
    x, a = draw(5, 4, seed=seed), draw(7, 4, seed=seed + 1)
    projection = RelativeProjection(a)
    back = torch.linalg.lstsq(projection.anchors, projection(x).T).solution.T
    assert torch.allclose(back, x / x.norm(dim=1, keepdim=True), atol=1e-9)


def test_chunks_and_leading_axes_and_gradients():
    x, a = draw(10, 3), draw(4, 3)
    whole = RelativeProjection(a)
    assert torch.allclose(RelativeProjection(a, chunk=3)(x), whole(x), atol=1e-15)
    assert torch.allclose(whole(x.view(2, 5, 3)).view(10, 4), whole(x), atol=1e-15)
    assert torch.autograd.gradcheck(whole, (x.clone().requires_grad_(),))
    assert torch.autograd.gradcheck(relative, (x.clone().requires_grad_(), a.clone().requires_grad_()))
    assert torch.isnan(whole(torch.zeros(1, 3).double())).all()
    steps = RelativeProjection(a, quantize=0.25)(x) / 0.25
    assert torch.equal(steps, steps.round())


def test_bad_anchors_are_named():
    a = draw(4, 3)
    for anchors, word in (
        (torch.empty(0, 3), "anchors: none"),
        (torch.cat([a, torch.zeros(1, 3).double()]), "anchors: number 4 is zero"),
        (torch.where(a == a[0, 0], torch.nan, a), "anchors: 1 of 12"),
    ):
        with pytest.raises(ValueError, match=word):
            RelativeProjection(anchors)
    with pytest.raises(ValueError, match="span 2 of 3"):
        RelativeProjection(a[:3], whiten=True)
    with pytest.raises(ValueError, match="x: 2 dimensions"):
        RelativeProjection(a)(draw(2, 2))


def test_anchors_are_encoded_in_evaluation_mode():
    encoder = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.9))
    x = torch.randn(8, 3)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    projection = RelativeProjection.from_encoder(encoder, x)
    assert encoder.training and all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())
    assert torch.allclose(projection(encoder.eval()(x)).diagonal(), torch.ones(8), atol=1e-6)


@pytest.mark.parametrize("method", ["uniform", "fps", "kmeans"])
def test_selected_anchors_are_distinct_and_reproducible(method):
    x = draw(40, 3)
    chosen = AnchorSet.select(x, 12, method=method, generator=torch.Generator().manual_seed(0))
    assert len(set(chosen.index)) == 12 == len(chosen)
    assert chosen == AnchorSet.select(x, 12, method=method, generator=torch.Generator().manual_seed(0))
    assert torch.equal(chosen.of(x), x[list(chosen.index)])


def test_the_farthest_points_of_clusters_are_one_of_each():
    centres = 100 * torch.eye(5).double()
    x = (centres[:, None] + draw(5, 8, 5)).flatten(0, 1)
    for method in ("fps", "kmeans"):
        index = AnchorSet.select(x, 5, method=method, generator=torch.Generator().manual_seed(1)).index
        assert method == "kmeans" or {i // 8 for i in index} == set(range(5))
        assert len(set(index)) == 5


def test_bad_anchor_sets_are_named():
    for index, word in (((), "empty"), ((1, 1), "1 comes twice"), ((-1,), "-1")):
        with pytest.raises(ValueError, match=word):
            AnchorSet(index)
    with pytest.raises(ValueError, match="k: 9"):
        AnchorSet.select(draw(4, 2), 9)
    with pytest.raises(ValueError, match="x: 3 rows"):
        AnchorSet((5,)).of(draw(3, 2))


def test_a_head_works_on_a_rotated_encoder_only_through_the_relative_space():
    """The encoders differ by a rotation: absolute stitching breaks, relative stitching is exact."""
    torch.manual_seed(0)
    x = torch.randn(60, 5)
    one = torch.nn.Linear(5, 5, bias=False)
    two = torch.nn.Linear(5, 5, bias=False)
    two.weight.data = rotation(5).float() @ one.weight.data
    first, second = (RelativeProjection.from_encoder(e, x[:12]) for e in (one, two))
    head = torch.nn.Sequential(torch.nn.Linear(12, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    assert torch.allclose(stitch(one, first, head)(x), stitch(two, second, head)(x), atol=1e-5)
    assert not stitch(one, first, head).train().training
    with pytest.raises(ValueError, match="5 anchors, the head was trained on 12"):
        stitch(two, RelativeProjection.from_encoder(two, x[:5]), head)


def test_latent_similarity_of_rotated_spaces():
    x = draw(50, 6)
    y = x @ rotation(6)
    absolute = latent_similarity(x, y)
    assert absolute.jaccard == pytest.approx(1.0) and absolute.mrr < 0.5
    related = latent_similarity(RelativeProjection(x[:10])(x), RelativeProjection(y[:10])(y))
    assert related.jaccard == pytest.approx(1.0) and related.mrr == 1.0 and related.cosine == pytest.approx(1.0)
    assert latent_similarity(x, draw(50, 4)).mrr != latent_similarity(x, draw(50, 4)).mrr  # NaN
    with pytest.raises(ValueError, match="b: 4 rows"):
        latent_similarity(x, y[:4])
