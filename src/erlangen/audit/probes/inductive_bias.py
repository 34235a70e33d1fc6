"""Bits of luck that a smooth function of the representation needs to classify samples it did not see."""

import math

import torch
from torch import Tensor

from erlangen.audit.bias.posterior import interpolants, rbf
from erlangen.audit.budget import Needs
from erlangen.audit.collect import EMBEDDING
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.probes.equivariance import is_constant
from erlangen.audit.verdict import judge
from erlangen.stats.quadratic_form import quadratic_form_logcdf

SPLITS, TRAIN, TEST = 6, 200, 50
LEAST = 60
NOISE = 0.01
SHARES = (0.9, 0.75, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
ASKED = 0.2
CITATION = "Boopathy, Yue, Hwang, Iyer and Fiete 2024, arXiv:2406.15941"


@register(
    "inductive_bias",
    summary="bits a smooth random function needs to generalise from the embedding, beside the inputs",
    paper="arXiv:2406.15941",
)
class InductiveBias(Probe):
    """`-log2` of the chance that a random function that fits labelled samples explains four fifths of others' labels.

    The functions are those of a Gaussian process with a radial kernel (bandwidth: the median distance) and label noise
    of variance 0.01, on 200 samples, tested on 50, for six splits; the error to reach is a fifth of the variance of
    the one-hot labels. The reference is the same number for the inputs themselves: what lies below it is inductive bias
    that the model brings.
    """

    name = "inductive_bias"

    def needs(self, ctx: Context) -> Needs:
        both = max(ctx.dimensions.values(), default=0) + torch.Size(ctx.input_shape).numel()
        return Needs(8 * (TRAIN + TEST) * (both + 4 * (TRAIN + TEST)) + (1 << 28), labels=True)

    def finish(self, ctx: Context) -> list[Finding]:
        held = ctx.collected
        known = (held.label[held.input_rows] >= 0).nonzero().squeeze(1)
        label = held.label[held.input_rows][known]
        if len(known) < LEAST or len(label.unique()) < 2:
            raise NotApplicable(f"needs at least {LEAST} labelled inputs of two classes")
        embedding = held.embedding[held.input_rows][known]
        inputs = held.inputs[known].flatten(1)
        if not bool(torch.isfinite(embedding).all()):
            raise NotApplicable("undefined: the embedding is not finite")
        if is_constant(embedding):
            raise NotApplicable("undefined: the embedding does not vary with the input")
        y = torch.nn.functional.one_hot(label, ctx.num_classes).double()
        generator = ctx.generator()
        test = min(TEST, len(known) // 4)
        orders = [torch.randperm(len(known), generator=generator) for _ in range(SPLITS)]
        parts = [(order[test : test + TRAIN], order[:test]) for order in orders]
        own = torch.stack([_bits(embedding, y, *part) for part in parts])  # [splits, shares]
        raw = torch.stack([_bits(inputs, y, *part) for part in parts])
        return [self._finding(ctx, own, raw, test, len(parts[0][0]))]

    def _finding(self, ctx: Context, own: Tensor, raw: Tensor, test: int, train: int) -> Finding:
        from scipy.stats import t

        place = SHARES.index(ASKED)
        if not bool(own[:, place].isfinite().all()):
            return self._out_of_reach(bool(raw[:, place].isfinite().all()), test)
        value, reference = float(own[:, place].mean()), float(raw[:, place].mean())
        # splits share samples: the corrected variance of Nadeau and Bengio (2003), Inference for the generalization error
        reach = float(t.ppf(0.5 + ctx.level / 2, SPLITS - 1)) * math.sqrt(1 / SPLITS + test / train)
        half, reference_half = (reach * float(rows[:, place].std()) for rows in (own, raw))
        low, high = own.min(0).values, own.max(0).values
        finding = Finding(
            "inductive_bias",
            "inductive_bias.bits",
            value,
            layer=EMBEDDING,
            ci=Interval(max(0.0, value - half), value + half, ctx.level, "subsample", train + test),
            reference=Reference(
                reference,
                max(0.0, reference - reference_half),
                reference + reference_half,
                "baseline",
                "the same for functions of the inputs",
            ),
            meaning=f"A smooth function of the embedding that fits labelled samples explains 80 % of the labels "
            f"of {test} others once in {_draws(value)} draws; a function of the inputs once in {_draws(reference)}.",
            assumptions=(
                "radial kernel, bandwidth the median distance, label noise 0.01",
                f"error to reach: a fifth of the variance of the labels, on {test} samples",
            ),
            figure=FigureSpec(
                "curve",
                "Bits of luck that generalising takes",
                "error to reach, share of the labels' variance",
                "bits",
                [
                    {
                        "name": "functions of the embedding",
                        "x": list(SHARES),
                        "y": own.mean(0).tolist(),
                        "low": low.tolist(),
                        "high": high.tolist(),
                    },
                    {"name": "functions of the inputs", "x": list(SHARES), "y": raw.mean(0).tolist()},
                ],
            ),
            citation=CITATION,
            details={"shares": list(SHARES), "bits": own.mean(0).tolist(), "bits_of_inputs": raw.mean(0).tolist()},
        )
        return judge(finding, finding.reference.low, good="below", because="functions of the inputs, lower end")  # type: ignore[union-attr]

    def _out_of_reach(self, inputs_can: bool, test: int) -> Finding:
        """Functions of the embedding have an error in common that is above the one asked for."""
        return Finding(
            "inductive_bias",
            "inductive_bias.bits",
            math.nan,
            layer=EMBEDDING,
            verdict="fail" if inputs_can else "info",
            meaning=f"No smooth function of the embedding that fits labelled samples explains 80 % of the labels of {test} "
            f"others; {'some' if inputs_can else 'nor does one'} of the inputs{' do' if inputs_can else ''}.",
            rule="fail where functions of the inputs can and functions of the embedding cannot",
            citation=CITATION,
        )


def _draws(bits: float) -> str:
    return f"2^{bits:.1f}" if bits < 100 else f"2^{bits:.0f}"


def _bits(x: Tensor, y: Tensor, train: Tensor, test: Tensor) -> Tensor:
    """Bits at every share of the labels' variance."""
    x = x.double()
    distance = torch.cdist(x[train], x[train])
    bandwidth = float(distance[distance > 0].median()) if bool((distance > 0).any()) else 1.0
    posterior = interpolants(x[train], y[train] - y[train].mean(0), x[test], kernel=rbf(bandwidth), noise=NOISE)
    offset, lam, nc, df = posterior.error_law(y[test] - y[train].mean(0))
    variance = float((y[test] - y[train].mean(0)).square().mean())
    asked = variance * torch.tensor(SHARES, dtype=torch.float64) - offset
    if not len(lam):  # all functions have the same error
        return torch.where(asked >= 0, 0.0, torch.inf).double()
    return quadratic_form_logcdf(lam, nc, asked, df=df).abs() / math.log(2)
