"""Dimension and weight multiplicities of finite-dimensional simple modules, in exact integers."""

from fractions import Fraction

from erlangen.groups.cartan.cartan_type import CartanType
from erlangen.groups.cartan.errors import InfiniteError
from erlangen.groups.cartan.weyl import Labels, to_dominant

Coefficients = tuple[int, ...]


def _check(cartan: CartanType, labels: Labels) -> None:
    if cartan.kind != "finite":
        raise InfiniteError(f"cartan: {cartan.name} is not of finite type: the module is not finite-dimensional")
    if len(labels) != cartan.rank or any(isinstance(x, bool) or not isinstance(x, int) or x < 0 for x in labels):
        raise ValueError(f"weight: {labels}; expected {cartan.rank} integers of at least 0")


def weyl_dimension(cartan: CartanType, labels: Labels) -> int:
    """dim L(λ) = Π_{α>0} ⟨λ + ρ, α⟩ / ⟨ρ, α⟩.

    Raises InfiniteError where the type is not finite, ValueError where λ is not dominant integral.
    """
    _check(cartan, labels)
    d = cartan.symmetrizer
    value = Fraction(1)
    for root in cartan.positive_roots():
        # (λ + ρ, α) = Σ_i d_i (λ_i + 1) a_i
        value *= Fraction(
            sum(d[i] * (labels[i] + 1) * a for i, a in enumerate(root)), sum(d[i] * a for i, a in enumerate(root))
        )
    return int(value)


def dominant_weights(cartan: CartanType, labels: Labels) -> dict[Labels, Coefficients]:
    """The dominant weights μ of L(λ), each with the coefficients c of λ - μ = Σ c_i α_i, by depth Σ c_i.

    Every dominant μ < λ is reached from a larger dominant one by subtracting a positive root: J. Stembridge, "The
    partial order of dominant weights", 1998.
    """
    _check(cartan, labels)
    roots = [
        (r, tuple(sum(x * y for x, y in zip(row, r, strict=True)) for row in cartan.matrix))
        for r in cartan.positive_roots()
    ]
    found: dict[Labels, Coefficients] = {labels: (0,) * cartan.rank}
    queue = [labels]
    for weight in queue:
        below = found[weight]
        for root, root_labels in roots:
            lower = tuple(x - y for x, y in zip(weight, root_labels, strict=True))
            if min(lower) >= 0 and lower not in found:
                found[lower] = tuple(x + y for x, y in zip(below, root, strict=True))
                queue.append(lower)
    return dict(sorted(found.items(), key=lambda item: sum(item[1])))


def freudenthal(cartan: CartanType, labels: Labels) -> dict[Labels, int]:
    """The multiplicity of every dominant weight μ of L(λ), by Freudenthal's recursion

    ((λ+ρ, λ+ρ) - (μ+ρ, μ+ρ)) m(μ) = 2 Σ_{α>0} Σ_{k≥1} (μ + kα, α) m(μ + kα).

    Raises InfiniteError where the type is not finite, ValueError where λ is not dominant integral.
    """
    weights = dominant_weights(cartan, labels)
    d = cartan.symmetrizer
    roots = []
    for root in cartan.positive_roots():
        along = tuple(sum(x * y for x, y in zip(row, root, strict=True)) for row in cartan.matrix)
        scaled = tuple(d[i] * a for i, a in enumerate(root))
        norm = sum(x * y for x, y in zip(scaled, along, strict=True))
        roots.append((along, scaled, norm))
    dominant: dict[Labels, Labels] = {}
    multiplicity = {labels: 1}
    for weight, below in weights.items():
        if weight == labels:
            continue
        total = 0
        for along, scaled, norm in roots:
            inner = sum(x * y for x, y in zip(scaled, weight, strict=True))
            above = weight
            while True:
                above = tuple(x + y for x, y in zip(above, along, strict=True))
                inner += norm
                representative = dominant.get(above)
                if representative is None:
                    representative = dominant[above] = to_dominant(cartan, above)[0]
                count = multiplicity.get(representative)
                if count is None:
                    break
                total += inner * count
        # (λ+ρ, λ+ρ) - (μ+ρ, μ+ρ) = (λ - μ, λ + μ + 2ρ)
        gap = sum(d[i] * c * (labels[i] + weight[i] + 2) for i, c in enumerate(below))
        multiplicity[weight] = 2 * total // gap
    return multiplicity
