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
    "respect": Method(
        "√(E‖f(g·x) − f(x)‖² / E‖f(x) − f(x′)‖²), features averaged over positions",
        "Which moves of an input a layer notices, without naming a group: shifts, turns, mirror images, sizes, colours.",
        "Other moves, or larger ones; an architecture that moves along with its input.",
    ),
    "generalization": Method(
        "accuracy on samples of the fit − accuracy on held-out ones",
        "A model that knows its own samples by heart is of no use on others.",
        "More or other training samples, earlier stopping, regularisation; the gap of 10 % is a convention.",
    ),
    "dead_units": Method(
        "share of units with max f − min f ≤ 10⁻⁶ max|f| over all samples",
        "Units that never change take up room and learn nothing: a ReLU that never fires stays dead.",
        "A smaller learning rate, another initialisation; inputs of a kind that was not audited.",
    ),
    "training": Method(
        "spread √(Σ Var zⱼ / E‖z‖²) and effective rank exp(−Σ pᵢ ln pᵢ) of 256 embeddings after every epoch",
        "A collapse in training is cheapest to notice while it happens.",
        "The weights of the terms of the loss, the learning rate, the size of a batch.",
    ),
    "intrinsic_dimension": Method(
        "d = n / Σ ln(r₂ / r₁), r₁ and r₂ the distances to the two nearest neighbours (TwoNN)",
        "How many numbers it takes to say where on its surface a representation is; trained layers lower it.",
        "The number of samples: all estimates fall short in high dimension, as their calibration shows.",
    ),
    "collapse": Method(
        "NC1 = tr(Σ_W Σ_B⁺) / K; NC2 lengths and angles of class means; NC3 alignment with the classifier; NC4 agreement "
        "with the nearest class mean",
        "Late in training the samples of a class shrink to a point and class means spread evenly: how far has it come?",
        "Longer training lowers NC1; imbalanced classes change the lengths that are to be expected.",
    ),
    "feature_complexity": Method(
        "units that are left when those with like weights merge, over all units",
        "Units that do the same can be merged without data: the network could be smaller.",
        "The tolerance for likeness; `deploy.merge_features` makes the smaller network.",
    ),
    "duplicates": Method(
        "share of inputs that equal another one",
        "Copies on both sides of a split make held-out accuracy too good.",
        "Removing them; near copies are listed with no verdict.",
    ),
    "contradictory_labels": Method(
        "share of inputs that equal another one with a different label",
        "No model can be right about both: they bound the accuracy that can be had.",
        "Correcting the labels.",
    ),
    "data_dimension": Method(
        "d̂ = 1 / mean of (1/(k−1)) Σⱼ ln(r_k / rⱼ), read on a scale made from cubes of known dimension",
        "The number of directions in which the data vary sets how fast a loss can fall with more samples.",
        "More samples: the estimate falls short in high dimension, the calibration says by how much.",
    ),
    "label_sharpness": Method(
        "K_F = max over pairs of different classes of |y − y′| / ‖x − x′‖",
        "Close inputs of different classes need a sharp function, which is hard to learn and easy to fool.",
        "It is an extreme value: more samples raise it; another scale of the inputs changes it.",
    ),
    "scaling_law": Method(
        "L = O(K_F N^(−1/d))",
        "What more data would bring, before anything is trained.",
        "It is a bound: a model may learn faster.",
    ),
    "criticality": Method(
        "χ = C_W E[σ′(z)²]; signals K⁽ˡ⁺¹⁾ = C_b + C_W E[σ(z)²], z ~ N(0, K⁽ˡ⁾)",
        "Signals and gradients that grow or vanish with depth make a network untrainable.",
        "`init_critical_` sets the weights so that both stay; a smaller ratio of depth to width.",
    ),
    "convergent": Method(
        "correlation of units matched one to one (Hungarian), on inputs that they were not matched on; overlap of subspaces",
        "Two networks may share single units, or only what their units span together.",
        "The reference model; more samples to match on.",
    ),
    "rsa": Method(
        "rank correlation of the distances between inputs with a model of them (same class or not)",
        "What is near what: the geometry of a layer compared without matching its units.",
        "The stimuli, the distance, the model geometry it is compared with.",
    ),
    "geometry": Method(
        "alignment tr(K T) / (‖K‖ ‖T‖); parallelism: mean cosine of coding directions; CCGP: accuracy on conditions not taught",
        "Whether classes are laid out so that what is learned on some carries over to others.",
        "The nonlinearity: tanh follows the targets, ReLU keeps more of the inputs.",
    ),
    "feature_bias": Method(
        "share of the variance explained by a feature = 1 − Σ‖z − E[z | feature]‖² / Σ‖z − E z‖²",
        "Features that are read equally well may fill very different shares of a layer.",
        "Which features are named, the order in which they were learned.",
    ),
    "degeneracy": Method(
        "directions in the weights that change nothing: rank of the Gram matrices of inputs and of gradients",
        "How much smaller the network effectively is than its parameters say.",
        "More samples: directions that matter rarely look free on few of them.",
    ),
    "task_circuits": Method(
        "gates m per class: min CE(f_m(x), y) + Σ‖h_m − h‖² + β Σ σ(m)², kept where σ(m) > ½",
        "Which units carry a class, and whether confused classes share them.",
        "The sparsity asked for; the layers that carry gates.",
    ),
    "landscape": Method(
        "θ = θ₀ + P v, v ∈ R^d trained, P random with unit columns; the least d that scores 90 % of direct training",
        "How many directions of its weights the architecture needs for this task: a bound on what has to be learned.",
        "Rates and steps of the training, the share asked for, more labelled inputs.",
    ),
    "inductive_bias": Method(
        "I(ε) = −log₂ P(test error ≤ ε | f fits the training samples), f Gaussian with a radial kernel",
        "What it still takes by luck once the training data are fitted; what the model brings is the difference.",
        "ε, the number of training and test samples, the kernel's bandwidth.",
    ),
}
