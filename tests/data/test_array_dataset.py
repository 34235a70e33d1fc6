"""The in-memory data set: what goes in comes out, in float32, split and counted."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.data import ArrayDataset, PairBatch, load


def bytes_images(n=20, seed=0, channels=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, 5, 4), dtype=torch.uint8, generator=generator)


def test_bytes_are_delivered_as_float32_between_zero_and_one():
    x = bytes_images()
    data = ArrayDataset(x, torch.arange(20) % 3)
    sample, label, index = data[-1]
    assert sample.dtype == torch.float32 and torch.equal(sample * 255, x[19].float()) and (label, index) == (1, 19)
    assert data.sample_shape == (1, 5, 4) and data.num_classes == 3


@given(n=st.integers(2, 60), classes=st.integers(1, 5), seed=st.integers(0, 100))
def test_drawn_splits_are_disjoint_complete_and_repeatable(n, classes, seed):
    label = torch.arange(n) % classes
    first, second = (ArrayDataset(torch.zeros(n, 2), label, kind="vector", seed=seed) for _ in range(2))
    train, test = first.splits["train"], first.splits["test"]
    assert sorted(train.tolist() + test.tolist()) == list(range(n))
    assert len(test) > 0 and torch.equal(test, second.splits["test"])


@given(batch_size=st.integers(1, 25), shuffle=st.booleans(), drop_last=st.booleans())
def test_batches_visit_every_sample_once(batch_size, shuffle, drop_last):
    x = bytes_images()
    data = ArrayDataset(x, torch.arange(20) % 3)
    generator = torch.Generator().manual_seed(1)
    batches = list(data.batches(batch_size, shuffle=shuffle, generator=generator, drop_last=drop_last))
    seen = torch.cat([batch.index for batch in batches]) if batches else torch.tensor([], dtype=torch.int64)
    expected = 20 // batch_size * batch_size if drop_last else 20
    assert len(seen) == expected == len(seen.unique())
    for batch in batches:
        assert torch.equal(batch.x, x[batch.index].float() / 255)
        assert torch.equal(batch.label, batch.index % 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_mean_and_std_are_those_of_numpy_over_the_train_part(channels):
    data = ArrayDataset(bytes_images(50, channels=channels), torch.arange(50) % 2)
    values = data.x[data.splits["train"]].numpy() / 255.0
    assert np.allclose(data.mean, values.mean((0, 2, 3)), atol=1e-6)
    assert np.allclose(data.std, values.std((0, 2, 3)), atol=1e-6)


def test_a_constant_channel_has_unit_std_so_that_normalising_gives_zero():
    data = ArrayDataset(torch.full((6, 1, 3, 3), 7, dtype=torch.uint8))
    x, label = data.tensors()
    assert torch.equal((x - data.mean) / data.std, torch.zeros_like(x)) and (label == -1).all()


def test_fingerprint_is_of_the_content():
    x = bytes_images()
    changed = x.clone()
    changed[3, 0, 2, 1] += 1
    label = torch.arange(20) % 3
    base = ArrayDataset(x, label)
    assert base.fingerprint() == ArrayDataset(x.clone(), label, name="other").fingerprint()
    others = (ArrayDataset(changed, label), ArrayDataset(x, label.flip(0)), ArrayDataset(x), base.train)
    assert len({base.fingerprint(), *(other.fingerprint() for other in others)}) == 5


def test_subset_keeps_classes_and_is_its_own_train_and_test():
    data = ArrayDataset(bytes_images(), torch.arange(20) % 4)
    part = data.subset([0, 4, 8])
    assert part.num_classes == 4 and part.train is part and part.test is part
    assert data.test.num_classes == 4


def test_text_labels_become_sorted_classes():
    data = ArrayDataset(torch.zeros(3, 2), ["dog", "ant", "dog"], kind="vector")
    assert data.class_names == ["ant", "dog"] and data.label.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("x", "label", "kind", "message"),
    [
        (torch.tensor([[1.0, float("nan")], [0.0, 0.0]]), None, "vector", "x: NaN or infinite values in 1 of 2"),
        (torch.tensor([[1.0], [float("inf")]]), None, "vector", "first: sample 1"),
        (torch.zeros(2, 3), [0, 7], "vector", "label: 7 is out of range"),
        (torch.zeros(2, 3), [-2, 0], "vector", "label: -2 is out of range"),
        (torch.zeros(2, 3), [0], "vector", r"label: shape \(1,\) for 2 samples"),
        (torch.zeros(0, 3), None, "vector", "at least one sample"),
        (torch.zeros(2, 3), None, "image", r"needs \(N, C, H, W\)"),
    ],
)
def test_bad_input_is_named(x, label, kind, message):
    with pytest.raises(ValueError, match=message):
        ArrayDataset(x, label, kind=kind)


def test_fractional_labels_and_objects_are_type_errors():
    with pytest.raises(TypeError, match="label: fractions"):
        ArrayDataset(torch.zeros(2, 3), torch.tensor([0.5, 1.0]), kind="vector")
    with pytest.raises(TypeError, match="python objects"):
        ArrayDataset(np.array([{}, {}], dtype=object))


def test_pair_batch_moves_and_refuses_lengths_that_differ():
    batch = PairBatch(
        torch.zeros(3, 2), torch.ones(3, 2), g=(torch.zeros(3), torch.ones(3)), label=torch.zeros(3).long()
    )
    assert len(batch.to("cpu")) == 3 and isinstance(batch.to("cpu").g, tuple)
    with pytest.raises(ValueError, match="x2: 2 entries for 3"):
        PairBatch(torch.zeros(3, 2), torch.zeros(2, 2))


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    data = load("digits")
    assert len(data) == 1797 and data.sample_shape == (1, 8, 8) and data.num_classes == 10
    assert np.array_equal(data.tensors()[0].numpy()[:, 0] * 16, bunch.images)
    assert np.array_equal(data.label, bunch.target)
