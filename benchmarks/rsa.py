"""Representational similarity analysis beside rsatoolbox, on the 92 images that its demonstrations use.

    python benchmarks/rsa.py [--repeats 3] [--resamples 100] [--threads 1] [--output rsa.json]

Three steps, and all of them together: the dissimilarities of the 92 images' pixels, of eight models with the human IT
data of four subjects in two sessions, and the bootstrap of that over stimuli and subjects with its noise ceiling (as in
`eval_bootstrap`). `difference` is the largest between the two libraries' numbers on the same resamples.
"""

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from erlangen.audit.rsa import compare_rdms, evaluate_models, geo_topological, rdm
from erlangen.stats.rdm_bootstrap import RdmResamples
from harness import interleave, make_parser, write_json

THEIRS = {"cosine": "cosine", "pearson": "corr", "spearman": "spearman", "rho_a": "rho-a", "tau_a": "tau-a"}
PAIRWISE = {**THEIRS, "whitened_cosine": "cosine_cov", "whitened_pearson": "corr_cov", "bures": "bures"}


def load() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pixels `[92, features]`, human IT `[subjects x sessions, 92, 92]`, models `[8, 92, 92]`."""
    path = Path(os.environ.get("ERLANGEN_DATA", "")) / "rsa_92images" / "rsa_92images.npz"
    if not path.is_file():
        raise SystemExit("rsa: skipped, the 92 images are not there (set ERLANGEN_DATA)")
    with np.load(path) as data:
        pixels = torch.from_numpy(data["stimuli"]).flatten(1).double() / 255
        brain = torch.from_numpy(data["rdm_human_IT_subjects_sessions"]).double().flatten(0, 1)
        models = torch.from_numpy(data["rdm_models"]).double()
    return pixels, brain, models


class Peer:
    """The same steps in rsatoolbox."""

    def __init__(self, brain: torch.Tensor, models: torch.Tensor) -> None:
        import rsatoolbox
        from rsatoolbox.inference import evaluate
        from rsatoolbox.rdm import RDMs

        evaluate.tqdm.trange = range  # no progress bar in what is timed
        self.lib, self.evaluate = rsatoolbox, evaluate
        self.brain, self.models = RDMs(brain.numpy()), RDMs(models.numpy())
        self.fixed = [rsatoolbox.model.ModelFixed(str(i), m) for i, m in enumerate(models.numpy())]

    def rdm(self, pixels: torch.Tensor) -> Any:
        return self.lib.rdm.calc_rdm(self.lib.data.Dataset(pixels.numpy()), method="correlation").get_matrices()[0]

    def compare(self, method: str) -> Any:
        return self.lib.rdm.compare(self.models, self.brain, PAIRWISE[method])

    def bootstrap(self, method: str, resamples: int) -> Any:
        return self.evaluate.eval_bootstrap(self.fixed, self.brain, method=THEIRS[method], N=resamples)

    def recorded(self, method: str, resamples: int) -> tuple[Any, RdmResamples]:
        """The bootstrap and what it drew."""
        stimuli, subjects, original = [], [], self.evaluate.bootstrap_sample

        def record(*args: Any, **options: Any) -> Any:
            drawn = original(*args, **options)
            subjects.append(np.bincount(drawn[1], minlength=self.brain.n_rdm))
            stimuli.append(np.bincount(drawn[2], minlength=self.brain.n_cond))
            return drawn

        self.evaluate.bootstrap_sample = record
        try:
            np.random.seed(0)  # noqa: NPY002
            found = self.bootstrap(method, resamples)
        finally:
            self.evaluate.bootstrap_sample = original
        return found, RdmResamples(torch.from_numpy(np.array(stimuli)), torch.from_numpy(np.array(subjects)))


def gap(ours: torch.Tensor, theirs: Any) -> float:
    return float((ours - torch.from_numpy(np.ascontiguousarray(theirs))).abs().max())


def bootstrap_gap(peer: Peer, models: torch.Tensor, brain: torch.Tensor, method: str) -> float:
    theirs, draws = peer.recorded(method, 12)
    ours = evaluate_models(models, brain, method, draws=draws)
    return max(gap(ours.samples, theirs.evaluations), gap(ours.ceiling_samples, theirs.noise_ceiling.T))


def main() -> None:
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--resamples", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pixels, brain, models = load()
    try:
        peer = Peer(brain, models)
    except ImportError:
        raise SystemExit("rsa: skipped, rsatoolbox is not installed (python benchmarks/environments.py)") from None
    rows: list[dict[str, Any]] = []

    def row(step: str, method: str, theirs: Any, ours: Any, difference: float) -> None:
        timing = interleave(
            {"rsatoolbox": theirs, "erlangen": ours},
            options.repeats,
            int(step in ("rdm", "comparison")),
            clock=time.process_time,
        )
        rows.append({"step": step, "method": method, "difference": difference, **timing.to_dict()})
        speed = 1 / timing.ratios["erlangen"]
        print(f"{step:10} {method:17} {speed:7.1f} times as fast, difference {difference:.1e}", flush=True)

    row("rdm", "correlation", partial(peer.rdm, pixels), partial(rdm, pixels), gap(rdm(pixels), peer.rdm(pixels)))
    for method in PAIRWISE:
        ours = partial(compare_rdms, models, brain, method)
        row("comparison", method, partial(peer.compare, method), ours, gap(ours(), peer.compare(method)))
    for method in THEIRS:
        difference = bootstrap_gap(peer, models, brain, method)
        count = options.resamples if method != "tau_a" else max(2, options.resamples // 10)
        ours = partial(evaluate_models, models, brain, method, resamples=count)
        row("bootstrap", method, partial(peer.bootstrap, method, count), ours, difference)

    def everything(mine: bool) -> None:
        if mine:
            rdm(pixels), compare_rdms(models, brain, "spearman")
            evaluate_models(models, brain, "spearman", resamples=options.resamples)
        else:
            peer.rdm(pixels), peer.compare("spearman"), peer.bootstrap("spearman", options.resamples)

    row("all", "spearman", partial(everything, False), partial(everything, True), rows[-3]["difference"])
    from rsatoolbox.rdm.transform import geotopological_transform

    one = peer.lib.rdm.RDMs(brain[:1].numpy())
    theirs = geotopological_transform(one, 0.2, 0.8).get_matrices()[0]
    difference = gap(geo_topological(brain[0], 0.2, 0.8, rank_first=False), theirs)
    print(f"geo-topological transform of one matrix: difference {difference:.1e}")
    write_json(options.output, rows, resamples=options.resamples, geo_topological_difference=difference)


if __name__ == "__main__":
    main()
