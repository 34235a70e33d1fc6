"""The Weyl group on weights and roots: reflections, orbits, dominant representatives, cosets."""

from collections.abc import Iterable, Sequence

from erlangen.groups.cartan.cartan_type import CartanType, Nodes

Labels = tuple[int, ...]
Word = tuple[int, ...]


def reflect(cartan: CartanType, i: int, labels: Labels) -> Labels:
    """s_i μ = μ - μ_i α_i in labels: (s_i μ)_j = μ_j - A[j][i] μ_i."""
    value = labels[i]
    return tuple(x - row[i] * value for x, row in zip(labels, cartan.matrix, strict=True))


def orbit(cartan: CartanType, labels: Labels, nodes: Iterable[int] | None = None) -> dict[Labels, Word]:
    """The orbit of a weight under W_J, each with the shortest word w (leftmost letter acts last) that reaches it.

    `labels` must be dominant for J = `nodes`; the caller makes sure that the orbit is finite.
    """
    chosen = sorted(cartan.nodes if nodes is None else nodes)
    found: dict[Labels, Word] = {labels: ()}
    level = [labels]
    while level:
        following = []
        for weight in level:
            word = found[weight]
            for i in chosen:
                if weight[i] > 0:
                    moved = reflect(cartan, i, weight)
                    if moved not in found:
                        found[moved] = (i, *word)
                        following.append(moved)
        level = following
    return found


def to_dominant(cartan: CartanType, labels: Labels, nodes: Iterable[int] | None = None) -> tuple[Labels, Word]:
    """The weight of the orbit that is dominant for J = `nodes`, and a word w with w·labels = it.

    Reflects at a negative label until there is none; ends on every weight of the Tits cone, always where W_J is finite.
    """
    chosen = sorted(cartan.nodes if nodes is None else nodes)
    word: list[int] = []
    current = labels
    while True:
        i = next((i for i in chosen if current[i] < 0), None)
        if i is None:
            return current, tuple(reversed(word))
        current = reflect(cartan, i, current)
        word.append(i)


class WeylElement:
    """A Weyl group element by its matrix on simple roots: `columns[j]` are the coefficients of w(α_j)."""

    def __init__(self, cartan: CartanType, word: Sequence[int] = ()) -> None:
        self.cartan = cartan
        self.word = tuple(word)
        for i in self.word:
            if i not in cartan.nodes:
                raise ValueError(f"word: {i!r} is not a node of {cartan.name}; allowed are 0 to {cartan.rank - 1}")
        unit = [[int(i == j) for i in range(cartan.rank)] for j in range(cartan.rank)]
        self.columns = [self._apply(root) for root in unit]

    def _apply(self, root: list[int]) -> list[int]:
        current = list(root)
        for i in reversed(self.word):
            row = self.cartan.matrix[i]
            current[i] -= sum(row[j] * current[j] for j in range(self.cartan.rank))
        return current

    def inverse(self) -> "WeylElement":
        return WeylElement(self.cartan, self.word[::-1])

    def __mul__(self, other: "WeylElement") -> "WeylElement":
        return WeylElement(self.cartan, self.word + other.word)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WeylElement) and (self.cartan, self.columns) == (other.cartan, other.columns)

    def __hash__(self) -> int:
        return hash((self.cartan, tuple(map(tuple, self.columns))))

    def sends_negative(self, i: int) -> bool:
        """Whether w(α_i) < 0, that is l(w s_i) < l(w)."""
        return any(value < 0 for value in self.columns[i])

    def is_identity(self) -> bool:
        return not any(self.sends_negative(i) for i in self.cartan.nodes)

    def in_product(self, left: Nodes, right: Nodes) -> bool:
        """Whether w ∈ W_left · W_right: the shortest element of the double coset W_left w W_right is then 1.

        Takes off descents on either side while there is one; every step shortens w by one.
        """
        current = self
        while True:
            i = next((i for i in sorted(right) if current.sends_negative(i)), None)
            if i is not None:
                current = WeylElement(self.cartan, (*current.word, i))
                continue
            inverse = current.inverse()
            i = next((i for i in sorted(left) if inverse.sends_negative(i)), None)
            if i is None:
                return current.is_identity()
            current = WeylElement(self.cartan, (i, *current.word))

    def __repr__(self) -> str:
        return f"WeylElement({self.cartan.name}, {' '.join(f's{i}' for i in self.word) or '1'})"
