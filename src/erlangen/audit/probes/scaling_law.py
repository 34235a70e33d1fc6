"""How fast the loss can be expected to fall with more samples, before anything is trained."""

import math

from erlangen.audit.budget import Needs
from erlangen.audit.finding import FigureSpec, Finding, Interval
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, Probe
from erlangen.audit.probes.data_dimension import ROWS, measured
from erlangen.audit.raw_inputs import raw_needs


@register(
    "scaling_law",
    summary="how fast a bound on the loss falls with the number of samples",
    paper="arXiv:2401.08865",
)
class ScalingLawProbe(Probe):
    """The rate `1/d` of `L = O(K_F N^(-1/d))` from the data's dimension; a bound, so a faster fall is possible."""

    name = "scaling_law"

    def needs(self, ctx: Context) -> Needs:
        return raw_needs(ctx, ROWS)

    def finish(self, ctx: Context) -> list[Finding]:
        found, _ = measured(ctx)
        rate = 1 / found.value
        low, high = 1 / found.high, 1 / found.low if found.low > 0 else math.inf
        sizes = [found.n * 2**i for i in range(7)]

        def fall(r: float) -> list[float]:
            return [(size / found.n) ** -r for size in sizes]

        return [
            Finding(
                self.name,
                "scaling_law.rate",
                rate,
                ci=Interval(low, high, ctx.level, "subsample", found.n),
                direction="higher",
                meaning=f"Halving the bound on the loss takes {_times(2**found.value)} as many samples as there are now.",
                rule="info: a bound and no forecast",
                assumptions=("Lipschitz loss and labels; the dimension is that of raw inputs and reads low",),
                citation="Konz and Mazurowski 2024, arXiv:2401.08865",
                figure=FigureSpec(
                    "curve",
                    "Bound on the loss, relative to now",
                    "samples",
                    "",
                    [
                        {
                            "name": "bound",
                            "x": sizes,
                            "y": fall(rate),
                            "low": fall(min(high, 10.0)),
                            "high": fall(low),
                        }
                    ],
                ),
            )
        ]


def _times(factor: float) -> str:
    return f"{factor:.0f} times" if factor < 1e4 else f"10^{math.log10(factor):.0f} times"
