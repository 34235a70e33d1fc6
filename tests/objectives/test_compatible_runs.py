"""Runs of the compatible objectives: written, read back, and the same again."""

import pytest
import torch

from erlangen import train
from erlangen.data import ArrayDataset


def pictures():
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(24) % 3
    x = torch.rand(24, 1, 8, 8, generator=generator) * 0.2 + torch.eye(3)[label][:, :, None, None].mean(1, keepdim=True)
    return ArrayDataset(x, label, splits={"train": torch.arange(18), "test": torch.arange(18, 24)})


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("stationary", {"old": "start"}),
        ("equiangular", {}),
        ("matryoshka", {"tied": True, "dims": [2, 4]}),
        ("matryoshka", {"base": "vicreg", "dims": [2, 4]}),
    ],
)
def test_a_run_is_read_back_with_its_frozen_parts_and_gives_the_same_numbers(name, arguments, tmp_path):
    from erlangen import objectives
    from erlangen.nn.images import PlainCNN

    runs = []
    for place in ("one", "two"):
        torch.manual_seed(0)
        encoder = PlainCNN(2, in_channels=1, embedding_dim=4, stages=1)
        goal = objectives.build(name, **arguments)
        runs.append(
            train.fit(
                encoder, pictures(), objective=goal, epochs=1, batch_size=6, seed=1, out=tmp_path / place, quiet=True
            )
        )
    again = train.load(tmp_path / "one")
    for other in (runs[1], again):
        mine, theirs = runs[0].objective.state_dict(), other.objective.state_dict()
        assert mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)
        for k, v in runs[0].encoder.state_dict().items():
            assert torch.equal(v, other.encoder.state_dict()[k])
    terms = [key for key in runs[0].metrics if key.startswith("test/")]
    assert {f"test/{term}" for term in runs[0].objective.healthy} - {"test/compatibility"} <= set(terms)
