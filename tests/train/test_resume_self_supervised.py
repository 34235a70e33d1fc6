"""Objectives with teachers, queues and schedules of their own go on exactly where they were stopped."""

import pytest
import torch
from small_runs import small_digits

from erlangen import train
from erlangen.data import Crops
from erlangen.nn.images import PlainCNN
from erlangen.objectives import NTXent, OBoW, TripletSiameseLoss


class Power(RuntimeError):
    """It went out."""


class StoppingCrops(Crops):
    """Views that fail once, after so many batches; told apart from `Crops` by nothing that is written down."""

    left: int | None = None

    def __call__(self, x, generator):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Power
        return super().__call__(x, generator)


def run(objective, out, left=None):
    views = StoppingCrops(first="whole", blur=0.0)
    views.left = left
    torch.manual_seed(0)
    encoder = PlainCNN(4, in_channels=1, embedding_dim=8, stages=2)
    return train.fit(
        encoder, small_digits(96), objective=objective(), views=views, epochs=3, batch_size=32, val_fraction=0.0,
        save_every_steps=2, out=out, quiet=True, seed=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    "objective",
    [lambda: OBoW(48, border=0), lambda: NTXent(width=8), lambda: TripletSiameseLoss(top_k=2)],
    ids=["obow", "nt_xent", "triplet"],
)
def test_a_run_that_broke_off_ends_where_one_in_a_piece_does(objective, tmp_path):
    whole = run(objective, tmp_path / "whole")
    with pytest.raises(Power):
        run(objective, tmp_path / "broken", left=5)
    resumed = run(objective, tmp_path / "broken")
    for part in ("encoder", "objective"):
        one, two = getattr(whole, part).state_dict(), getattr(resumed, part).state_dict()
        assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    assert whole.history == resumed.history
    again = train.load(tmp_path / "broken")
    assert all(torch.equal(v, again.objective.state_dict()[k]) for k, v in whole.objective.state_dict().items())
