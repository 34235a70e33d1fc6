"""Looking at growing data without making false alarms likelier."""

import math


def spent(alpha: float, share: float) -> float:
    """How much of the error rate may have been spent when a share of the data has been seen: `alpha ln(1 + (e-1) share)`.

    Spends early enough for resampling intervals, whose far tails are not to be had, to be of use at every look.

    Source: Lan and DeMets, "Discrete sequential boundaries for clinical trials", 1983 (the function of Pocock's type).
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha: {alpha}; must be between 0 and 1")
    if not 0 <= share <= 1:
        raise ValueError(f"share: {share}; must be between 0 and 1")
    return alpha * math.log1p((math.e - 1) * share)


def spend(alpha: float, look: int, looks: int) -> float:
    """The error rate of look number `look` of `looks`, the data doubling from each to the next.

    The increments of `spent` at shares 1/2^(looks - look); they add up to `alpha`, so that by the union bound the
    chance of a false alarm at any look is at most `alpha`, whatever the dependence between them.
    """
    if not 1 <= look <= looks:
        raise ValueError(f"look: {look} of {looks}; must be between 1 and the number of looks")
    before = spent(alpha, 2.0 ** (look - 1 - looks)) if look > 1 else 0.0
    return spent(alpha, 2.0 ** (look - looks)) - before
