"""OBoW: from a crop, predict which visual words a slow teacher finds in the whole image."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from erlangen._registry import objectives
from erlangen.data.batch import PairBatch
from erlangen.nn.hyper.dynamic_head import DynamicHead
from erlangen.nn.tap import Tap
from erlangen.objectives.bow_targets import BoWTargets, perplexity, word_prediction
from erlangen.objectives.objective import Objective
from erlangen.objectives.teacher import EMATeacher
from erlangen.objectives.terms import LossTerms


@objectives.register(
    "obow",
    summary="a crop predicts the bag of visual words that a slow teacher finds in the whole image",
    paper="arXiv:2012.11552",
)
class OBoW(Objective):
    """Reconstruction of bags of visual words over a vocabulary that is built while training.

    The teacher, a running average of the encoder (alpha rises to 1 by a cosine, batch norm statistics are its own),
    turns the first view into a bag of words at each level (`BoWTargets`); from the embedding of the second view, or of
    each of its crops, a head whose weights are made from the words (`DynamicHead`) predicts it. The loss is the
    cross-entropy, averaged over levels and crops. S. Gidaris, A. Bursuc, G. Puy, N. Komodakis, M. Cord, P. Perez,
    2021, arXiv:2012.11552; the encoder's embedding takes the place of the pooled last feature map.

    Arguments:
        num_words: of each vocabulary; above the batch size.
        layers: names of the encoder's layers whose maps hold the words; "last" is the last with a large enough map.
        inv_delta: the sharpness of the assignment to words.
        kappa: the inverse temperature of the prediction.
        alpha: of the teacher at the start; 1 keeps it as it was initialised.
        border: pixels of the maps that are left out on every side.
        update: "local_average", or "none" for the random vocabulary of the start.
    """

    views: ClassVar[Literal["single", "pair"]] = "pair"
    healthy: ClassVar[dict[str, str]] = {
        "words": "starts near log(num_words) and falls towards the entropy of the bags; near 0 is collapse",
        "perplexity_image": "words in one image: above 1, far below num_words",
        "perplexity_batch": "words in a batch: far above those in one image; as few as those is collapse",
    }

    def __init__(
        self,
        num_words: int = 512,
        *,
        layers: str | Sequence[str] = "last",
        inv_delta: float = 10.0,
        kappa: float = 5.0,
        alpha: float = 0.99,
        border: int = 1,
        update: Literal["local_average", "none"] = "local_average",
    ) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha: {alpha}; allowed: 0 <= alpha <= 1")
        if not kappa > 0:
            raise ValueError(f"kappa: {kappa}; it must be positive")
        BoWTargets(num_words, 1, inv_delta=inv_delta, border=border, update=update)  # complains now, not when attached
        self.num_words, self.layers, self.inv_delta, self.kappa = num_words, layers, inv_delta, kappa
        self.alpha, self.border, self.update = alpha, border, update
        self.embedding_dim: int | None = None
        self.teacher: EMATeacher | None = None
        self.levels: list[str] = []

    def suited_views(self, dataset: Any) -> Any:
        """The whole image for the teacher and a crop of it for the encoder."""
        return "crop_of_whole" if dataset.kind == "image" else None

    def setup(self, *, embedding_dim: int, num_classes: int | None = None) -> None:
        """Note the size; heads and vocabularies come with the encoder, in `attach`."""
        self._same_sizes(embedding_dim=embedding_dim)
        self.embedding_dim = embedding_dim

    def attach(self, encoder: nn.Module, sample: Tensor) -> None:
        """Copy the encoder as the teacher and make a vocabulary and a head for every level."""
        if self.teacher is not None:
            return
        if self.embedding_dim is None:
            raise RuntimeError("objective: call setup(embedding_dim=...) before attach")
        self.teacher = EMATeacher(encoder, self.alpha, schedule="cosine", total_steps=1)
        maps = self._survey(sample)
        self.levels = list(maps)
        self.targets = nn.ModuleList(
            BoWTargets(
                self.num_words, dim, inv_delta=self.inv_delta, border=self.border, update=self.update, level=name
            )
            for name, dim in maps.items()
        )
        self.heads = nn.ModuleList(DynamicHead(self.embedding_dim, dim, kappa=self.kappa) for dim in maps.values())

    def _survey(self, sample: Tensor) -> dict[str, int]:
        """The levels and their channels."""
        assert self.teacher is not None
        training = self.teacher.module.training
        self.teacher.module.eval()
        asked: Any = "auto" if self.layers == "last" else self.layers
        with Tap(self.teacher.module, layers=asked, pool=None) as tap:
            self.teacher(sample)
        self.teacher.module.train(training)
        maps = {name: _as_map(a) for name, a in tap.activations.items() if a.ndim >= 4}
        if self.layers != "last":
            flat = [name for name in tap.activations if name not in maps]
            if flat:
                raise ValueError(f"layers: {flat[0]!r} gives no feature map [batch, channels, height, width]")
            return {name: a.shape[1] for name, a in maps.items()}
        least = 3 + 2 * self.border
        fitting = {name: a.shape[1] for name, a in maps.items() if min(a.shape[-2:]) >= least}
        if not fitting:
            sizes = ", ".join(f"{name} {a.shape[-2]} x {a.shape[-1]}" for name, a in maps.items()) or "none at all"
            raise ValueError(
                f"layers: no feature map of at least {least} x {least} in the encoder ({sizes}); "
                "use larger images, border=0 or an encoder of images"
            )
        last = list(fitting)[-1]
        return {last: fitting[last]}

    def _maps(self, x: Tensor) -> list[Tensor]:
        if self.teacher is None:
            raise RuntimeError("objective: call setup(...) and attach(encoder, sample) before the first batch")
        with Tap(self.teacher.module, layers=self.levels, pool=None) as tap:
            self.teacher(x)
        return [_as_map(tap.activations[name]) for name in self.levels]

    def forward(self, encoder: nn.Module, batch: PairBatch) -> LossTerms:
        if batch.x2 is None:
            raise ValueError("batch: it has no second view x2; OBoW needs pairs (erlangen.data.Crops(first='whole'))")
        maps = self._maps(batch.x)
        crops = batch.x2.shape[1] if batch.x2.ndim == batch.x.ndim + 1 else 1
        embedding = encoder(batch.x2.flatten(0, 1) if crops > 1 or batch.x2.ndim > batch.x.ndim else batch.x2)
        terms = {}
        for number, (features, targets, head) in enumerate(zip(maps, self.targets, self.heads, strict=True), start=1):
            assert isinstance(targets, BoWTargets)
            words = targets.words  # before this batch adds its own
            bags = targets(features).repeat_interleave(crops, 0)
            loss = word_prediction(head(embedding, words), bags.to(embedding.dtype))["words"]
            terms["words" if len(self.levels) == 1 else f"words{number}"] = (loss, 1 / len(self.levels))
        return LossTerms(terms)

    @torch.no_grad()
    def metrics(self, encoder: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
        """How many words an image and the batch hold, at the last level."""
        targets = self.targets[-1]
        assert isinstance(targets, BoWTargets)
        training = targets.training
        targets.eval()
        image, whole = perplexity(targets(self._maps(batch.x)[-1]))
        targets.train(training)
        return {"perplexity_image": image, "perplexity_batch": whole}

    def alarm(self, values: Mapping[str, float]) -> str | None:
        image, whole = values.get("perplexity_image"), values.get("perplexity_batch")
        if image is not None and whole is not None and whole < 1.05 * image:
            return f"collapse: all images have one bag of words ({image:.1f} words each, {whole:.1f} together)"
        return None

    def after_step(self, encoder: nn.Module, *, step: int, total_steps: int) -> None:
        """Move the teacher."""
        assert self.teacher is not None
        self.teacher.total_steps = total_steps
        self.teacher.update(encoder)


def _as_map(activation: Tensor) -> Tensor:
    """`[batch, channels, height, width]`, fields of several components joined."""
    return activation if activation.ndim == 4 else activation.flatten(1, -3)
