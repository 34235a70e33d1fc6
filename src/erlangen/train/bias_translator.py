"""A translator of images to the look of another class, and the views of another bias that it makes."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from erlangen.data import ArrayDataset
from erlangen.nn.images.translator import DomainCritic, ImageTranslator
from erlangen.objectives.bias_translation import critic_terms, translator_terms
from erlangen.train.errors import NotFittedError, TrainingError
from erlangen.train.randomness import generator_for, preserved_globals, seed_globals


class BiasTranslator(nn.Module):
    """Learns `G(x, label)`: the image with the easy attribute that goes with another label, its content as it was.

    A small translator and a critic play against each other on labelled images; nothing says what the attribute is. The
    critic also reads the labels, by the easy attribute, since it learns with generalised cross-entropy; the translator
    must look real, be read as the target, and lead back. Y. Jung et al., 2023, arXiv:2112.01021, on StarGAN; its
    network and schedule are not published in detail, these are ours.

    A translator that also moves the content destroys the labels: look at `quality`.

    Arguments:
        width, layers, kernel_size: of the translator (`nn.images.ImageTranslator`).
        epochs: passes over the images.
        batch_size, lr: of both networks, with Adam.
        q: of the generalised cross-entropy; 0 is cross-entropy.
        cycle_weight, domain_weight: beside the adversary, which has weight one.
    """

    def __init__(
        self,
        width: int = 32,
        layers: int = 1,
        *,
        kernel_size: int = 3,
        epochs: int = 30,
        batch_size: int = 64,
        lr: float = 2e-3,
        q: float | int = 0.7,
        cycle_weight: float | int = 10.0,
        domain_weight: float | int = 1.0,
    ) -> None:
        super().__init__()
        if epochs < 1 or batch_size < 2 or not 0 < lr < float("inf"):
            raise ValueError(f"epochs, batch_size, lr: {epochs}, {batch_size}, {lr}; at least 1, at least 2, above 0")
        if not (cycle_weight >= 0 and domain_weight >= 0):
            raise ValueError(f"cycle_weight, domain_weight: {cycle_weight}, {domain_weight}; weights are at least 0")
        self.width, self.layers, self.kernel_size = width, layers, kernel_size
        self.epochs, self.batch_size, self.lr, self.q = epochs, batch_size, lr, q
        self.cycle_weight, self.domain_weight = cycle_weight, domain_weight
        self.translator: ImageTranslator | None = None
        self.critic: DomainCritic | None = None
        self.history: list[dict[str, float]] = []

    def fit(self, data: ArrayDataset, *, seed: int = 0) -> BiasTranslator:
        """Learn from the train part of labelled images; the same seed gives the same translator.

        Raises:
            ValueError: no images, no labels, or one class.
            TrainingError: a term stopped being finite.
        """
        if data.kind != "image" or not data.num_classes or data.num_classes < 2:
            raise ValueError(f"data: {data.name!r} has {data.num_classes} classes; images of two or more are needed")
        part = data.train
        x, label = part.tensors()
        x, label = x[label >= 0], label[label >= 0]
        with preserved_globals():
            seed_globals(seed, "bias translator")
            domains, channels = int(data.num_classes), x.shape[1]
            self.translator = ImageTranslator(
                domains, channels=channels, width=self.width, layers=self.layers, kernel_size=self.kernel_size
            )
            self.critic = DomainCritic(domains, channels=channels, width=self.width)
            self._play(x, label, seed)
        self.history = self.history[-self.epochs :]
        return self.eval().requires_grad_(False)

    def _play(self, x: Tensor, label: Tensor, seed: int) -> None:
        translator, critic = self._fitted()
        ours = torch.optim.Adam(translator.parameters(), lr=self.lr, betas=(0.5, 0.99))
        theirs = torch.optim.Adam(critic.parameters(), lr=self.lr, betas=(0.5, 0.99))
        generator = generator_for(seed, "bias translator")
        for epoch in range(self.epochs):
            sums: dict[str, float] = {}
            steps = list(torch.randperm(len(x), generator=generator).split(self.batch_size))
            for rate in (ours, theirs):
                rate.param_groups[0]["lr"] = self.lr * min(1.0, 2 * (1 - epoch / self.epochs))
            for rows in steps:
                real, own = x[rows], label[rows]
                target = other_domain(own, translator.domains, generator)
                moved = translator(real, target)
                judged, read = critic(real)
                cost = critic_terms(
                    judged, critic(moved.detach())[0], read, own, q=self.q, domain_weight=self.domain_weight
                )
                theirs.zero_grad()
                cost.total.backward()
                theirs.step()
                judged, read = critic(moved)
                gain = translator_terms(
                    real, translator(moved, own), judged, read, target,
                    cycle_weight=self.cycle_weight, domain_weight=self.domain_weight,
                )  # fmt: skip
                ours.zero_grad()
                gain.total.backward()
                ours.step()
                for name, value in {**cost, **gain}.items():
                    sums[name] = sums.get(name, 0.0) + float(value.detach()) / len(steps)
            wrong = [name for name, value in sums.items() if value != value or abs(value) == float("inf")]
            if wrong:
                raise TrainingError(f"bias translator: {', '.join(wrong)} not finite in epoch {epoch}; lower lr")
            self.history.append(sums)

    def _fitted(self) -> tuple[ImageTranslator, DomainCritic]:
        if self.translator is None or self.critic is None:
            raise NotFittedError("translator: not fitted; call fit(data) first")
        return self.translator, self.critic

    @torch.no_grad()
    def transform(
        self, x: Float[Tensor, "batch channels height width"], target: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Each image with the easy attribute of the class `target`."""
        translator, _ = self._fitted()
        if bool(((target < 0) | (target >= translator.domains)).any()):
            raise ValueError(f"target: allowed are the classes 0 .. {translator.domains - 1}")
        return translator(x, target)

    @torch.no_grad()
    def bias_of(self, x: Float[Tensor, "batch channels height width"]) -> Int[Tensor, " batch"]:
        """The class whose easy attribute the critic sees in each image."""
        return self._fitted()[1](x)[1].argmax(1)

    @torch.no_grad()
    def quality(self, x: Float[Tensor, "batch channels height width"], *, seed: int = 0) -> dict[str, float]:
        """How well translations to random other classes do.

        Returns:
            moved: the share that the critic reads as the target.
            kept: the mean correlation of the brightness of an image and its translation over the pixels; near 0 or below
                the content is gone.
        """
        translator, _ = self._fitted()
        target = other_domain(self.bias_of(x), translator.domains, generator_for(seed, "quality"))
        there = translator(x, target)
        grey, grey2 = (v.mean(1).flatten(1) for v in (x, there))
        kept = nn.functional.cosine_similarity(grey - grey.mean(1, keepdim=True), grey2 - grey2.mean(1, keepdim=True))
        return {"moved": float((self.bias_of(there) == target).double().mean()), "kept": float(kept.mean())}

    def views(self) -> OtherBias:
        """Second views in which the bias is another one, for `fit(views=...)`."""
        self._fitted()
        return OtherBias(self)

    def extra_repr(self) -> str:
        return (
            f"{self.width}, {self.layers}, kernel_size={self.kernel_size}, epochs={self.epochs}, "
            f"batch_size={self.batch_size}, lr={self.lr:g}, q={self.q:g}, cycle_weight={self.cycle_weight:g}, "
            f"domain_weight={self.domain_weight:g}"
        )


class OtherBias:
    """`(x, generator) -> (x1, x2, None)`: two of an image and its translations to two other classes, at random.

    The class that the critic sees in an image is left out, so that the views never have its own bias twice.
    """

    def __init__(self, translator: BiasTranslator) -> None:
        self.translator = translator

    def __call__(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Any]:
        if x.ndim != 4:
            raise ValueError(f"x: shape {tuple(x.shape)}; images [batch, channels, height, width] are needed")
        count = self.translator._fitted()[0].domains
        own = self.translator.bias_of(x)
        first = other_domain(own, count, generator)
        second = other_domain(own, count, generator)
        one, two = self.translator.transform(x, first), self.translator.transform(x, second)
        whole = (torch.rand(len(x), generator=generator) < 2 / 3).to(x.device) | (first == second)
        return torch.where(whole[:, None, None, None], x, one), two, None

    def __repr__(self) -> str:
        return f"OtherBias({self.translator.extra_repr()})"


def other_domain(own: Int[Tensor, " batch"], count: int, generator: torch.Generator) -> Int[Tensor, " batch"]:
    """Uniform over the domains that are not each sample's own."""
    step = torch.randint(1, count, (len(own),), generator=generator).to(own.device)
    return (own + step) % count
