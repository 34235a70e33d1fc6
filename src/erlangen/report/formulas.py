"""What each probe computes, and why one looks at it: a formula and a sentence."""

from typing import NamedTuple


class Method(NamedTuple):
    """The formula of a probe, why its number matters, and what would change its verdict."""

    formula: str
    why: str
    changes: str


METHODS: dict[str, Method] = {
    "equivariance": Method(
        "E(g) = Σₓ ‖f(g·x) − ρ(g) f(x)‖² / ½ Σₓ (‖f(g·x)‖² + ‖f(x)‖²), features centred; "
        "reported as (E − floor) / (E untrained − floor)",
        "0 says that the features move exactly as the group says, 1 that training brought nothing.",
        "Another resampling of the input (its floor is subtracted), another layer, other elements of the group.",
    ),
    "lie_derivative": Method(
        "L_X f(x) = d/dt at t = 0 of ρ(exp(−tX)) f(exp(tX) x); reported as E‖L_X f‖² / E‖f‖²",
        "How fast the symmetry breaks at the identity, without choosing an angle.",
        "Smoothing of the input: aliasing makes derivatives large.",
    ),
    "orbit_accuracy": Method(
        "accuracy of the classifier on {g·x : g in the group}, and the confusion of x with g·x",
        "It shows which classes a symmetry merges: a 6 turned upside down is a 9.",
        "A smaller group (for digits: rotations up to 45 degrees) keeps such classes apart.",
    ),
    "shift_consistency": Method(
        "share of pairs (x, shifted x) for which the same class is predicted",
        "Strided layers alias: a shift by one pixel should not change an answer.",
        "Blurring before striding; other shifts; another padding.",
    ),
    "knn": Method(
        "vote of the k nearest training embeddings by cosine, weights exp(s/T)",
        "Whether neighbours in the space share their class: what search will feel like.",
        "k, T and the number of stored samples.",
    ),
    "linear_probe": Method(
        "accuracy of multinomial logistic regression on frozen, standardised features, held-out part",
        "How much of the label can be read by a linear map; shuffled labels are the control.",
        "The regularisation, and more labelled samples.",
    ),
    "rankme": Method(
        "exp(−Σ pᵢ ln pᵢ), pᵢ = σᵢ / Σσ + 1e−7, σ the singular values of the embeddings",
        "How many dimensions are in use: low values mean that the space has collapsed.",
        "The number of samples: the value grows with n.",
    ),
    "alignment_uniformity": Method(
        "alignment E‖z − z⁺‖², uniformity ln E exp(−2‖z − z′‖²), z on the unit sphere",
        "Good spaces keep pairs together and spread the rest.",
        "Which pairs count as the same.",
    ),
    "cka": Method(
        "HSIC(K, L) / √(HSIC(K, K) HSIC(L, L)), linear kernels, unbiased HSIC",
        "Which layers hold the same geometry up to rotation and scale.",
        "The samples; the debiased estimate may be slightly negative for unrelated layers.",
    ),
}
