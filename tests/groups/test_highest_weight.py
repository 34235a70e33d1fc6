"""Highest weight modules: published f-vectors and dimensions, convex hulls as oracle, invariances, refusals."""

import itertools
import math
from fractions import Fraction

import networkx
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from sympy.liealgebras.cartan_type import CartanType as SympyCartanType
from sympy.liealgebras.weyl_group import WeylGroup

from erlangen.groups.cartan import CartanType, InfiniteError, WeylElement, weyl_dimension
from erlangen.groups.highest_weight import HighestWeightModule, UnsettledError, universal_weyl_polyhedron
from erlangen.groups.highest_weight.hull import count_faces, hull_f_vector

SMALL = ["A1", "A2", "B2", "G2", "A3", "B3", "C3", "A1 x A2", "B2 x A1"]


@st.composite
def module_strategy(draw, names=tuple(SMALL), top=2, verma=True):
    cartan = CartanType(draw(st.sampled_from(names)))
    weight = [draw(st.integers(0, top)) for _ in range(cartan.rank)]
    nodes = frozenset(i for i in range(cartan.rank) if not verma or draw(st.booleans()))
    return HighestWeightModule(cartan, weight, integrable=nodes if verma else None)


# --- facts from outside -------------------------------------------------------------------------------------------

F_VECTORS = {
    ("D4", (0, 1, 0, 0)): (24, 96, 96, 24, 1),  # the 24-cell
    ("A3", (1, 0, 1)): (12, 24, 14, 1),  # the cuboctahedron
    ("A3", (1, 1, 1)): (24, 36, 14, 1),  # the truncated octahedron
    ("A4", (1, 1, 1, 1)): (120, 240, 150, 30, 1),
    ("E6", (1, 0, 0, 0, 0, 0)): (27, 216, 720, 1080, 648, 99, 1),  # 2_21
    ("E6", (0, 1, 0, 0, 0, 0)): (72, 720, 2160, 2160, 702, 54, 1),  # 1_22
    ("E7", (0, 0, 0, 0, 0, 0, 1)): (56, 756, 4032, 10080, 12096, 6048, 702, 1),  # 3_21
    ("E8", (0, 0, 0, 0, 0, 0, 0, 1)): (240, 6720, 60480, 241920, 483840, 483840, 207360, 19440, 1),  # 4_21
    ("F4", (1, 0, 0, 0)): (24, 96, 96, 24, 1),
}


@pytest.mark.parametrize(("name", "weight"), F_VECTORS)
def test_f_vectors_of_known_polytopes(name, weight):
    assert HighestWeightModule(name, weight).f_vector() == F_VECTORS[name, weight]


@pytest.mark.parametrize("rank", [1, 2, 3, 5])
def test_a_verma_module_is_a_simplicial_cone(rank):
    verma = HighestWeightModule(f"A{rank}", [0] * rank, integrable=())
    assert verma.f_vector() == tuple(math.comb(rank, k) for k in range(rank + 1))


DIMENSIONS = {
    ("G2", (1, 0)): 7,
    ("G2", (0, 1)): 14,
    ("G2", (2, 0)): 27,
    ("F4", (0, 0, 0, 1)): 26,
    ("F4", (1, 0, 0, 0)): 52,
    ("D5", (0, 0, 0, 0, 1)): 16,
    ("B3", (0, 0, 1)): 8,
    ("C3", (0, 0, 1)): 14,
    ("E7", (0, 0, 0, 0, 0, 0, 1)): 56,
    ("E8", (0, 0, 0, 0, 0, 0, 0, 1)): 248,
    ("E8", (1, 0, 0, 0, 0, 0, 0, 0)): 3875,
    ("E8", (0, 1, 0, 0, 0, 0, 0, 0)): 147250,
}


@pytest.mark.parametrize(("name", "weight"), DIMENSIONS)
def test_dimensions_of_known_modules(name, weight):
    assert HighestWeightModule(name, weight).dimension() == DIMENSIONS[name, weight]


def test_multiplicities_of_the_adjoint_are_roots_and_rank():
    adjoint = HighestWeightModule("E6", (0, 1, 0, 0, 0, 0))
    counts = sorted(adjoint.multiplicities().values())
    assert counts == [1] * 72 + [6]


def test_weyl_group_orders_and_roots_agree_with_sympy():
    for name in ("A4", "B3", "C4", "D4", "G2", "F4"):
        other = SympyCartanType(name)
        ours = CartanType(name)
        assert len(ours.positive_roots()) == len(other.positive_roots())
        assert ours.weyl_order() == WeylGroup(name).group_order()
    assert [len(CartanType(n).positive_roots()) for n in ("E6", "E7", "E8")] == [36, 63, 120]


def test_weights_of_the_basic_module_of_affine_sl2():
    """Λ0 - n0 α0 - n1 α1 is a weight of L(Λ0) iff n0 ≥ (n0 - n1)² (the string functions' support)."""
    basic = HighestWeightModule("A1~", (1, 0))
    expected = {(a, b) for a in range(26) for b in range(26) if a + b <= 25 and a >= (a - b) ** 2}
    assert set(basic.weights(25)) == expected
    assert basic.f_vector() == (math.inf, math.inf, 1)
    with pytest.raises(InfiniteError, match="finite type"):
        basic.weights()


# --- brute force --------------------------------------------------------------------------------------------------


def _battery():
    for name in ("A2", "B2", "G2", "A3", "B3", "C3"):
        for weight in itertools.product((0, 1), repeat=CartanType(name).rank):
            for integrable in (None, (0,), tuple(range(1, CartanType(name).rank)), ()):
                yield name, weight, integrable
    for weight in itertools.product((0, 1), repeat=4):
        yield "A4" if sum(weight) < 3 else "A2 x A2", weight, None
    yield "E6", (1, 0, 0, 0, 0, 0), None
    yield "D4", (0, 1, 0, 0), None


def test_faces_are_those_of_the_convex_hull():
    cases = list(_battery())
    assert len(cases) >= 100
    for name, weight, integrable in cases:
        module = HighestWeightModule(name, weight, integrable=integrable)
        assert module.f_vector() == hull_f_vector(module), (name, weight, integrable)


@pytest.mark.parametrize("matrix", [[[2, -2], [-2, 2]], [[2, -3], [-2, 2]], [[2, -1, 0], [-3, 2, -2], [0, -2, 2]]])
def test_kac_moody_modules_with_a_finite_weyl_group_of_integrability(matrix):
    cartan = CartanType.from_matrix(matrix)
    for integrable in ((0,), (1,), ()):
        module = HighestWeightModule(cartan, [1] * cartan.rank, integrable=integrable)
        assert module.f_vector() == hull_f_vector(module)


def test_the_brute_force_notices_a_wrong_face_count():
    octahedron = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1], [0, 0, 0]]
    assert count_faces(octahedron, octahedron[:6]) == (6, 12, 8, 1)


# --- exact properties ---------------------------------------------------------------------------------------------


@given(module_strategy(names=(*SMALL, "D4", "F4", "E6", "A4"), verma=False))
def test_euler_relation_and_vertices(module):
    numbers = module.f_vector()
    assert sum((-1) ** i * n for i, n in enumerate(numbers)) == 1
    labels = module.weight
    orbit = {labels}
    if module.cartan.weyl_order() < 2000:
        queue = [labels]
        for x in queue:
            for i in range(module.cartan.rank):
                y = tuple(x[j] - module.cartan.matrix[j][i] * x[i] for j in range(module.cartan.rank))
                if y not in orbit:
                    orbit.add(y)
                    queue.append(y)
        assert numbers[0] == len(orbit)


@given(module_strategy(verma=False))
def test_multiplicities_add_up_to_the_dimension(module):
    counts = module.multiplicities()
    assert sum(counts.values()) == module.dimension() == weyl_dimension(module.cartan, module.weight)
    assert set(counts) == set(module.weights())


@given(module_strategy())
def test_weights_are_invariant_under_the_weyl_group_of_integrability(module):
    depth = 9
    inside = set(module.weights(depth))
    for c in inside:
        for i in module.integrable:
            moved = (*c[:i], c[i] + module.labels(c)[i], *c[i + 1 :])
            assert sum(moved) > depth or moved in inside


@given(module_strategy(names=(*SMALL, "A4", "D4", "A2~", "A1~")))
def test_the_interval_of_sets_with_one_face(module):
    """wt_J = wt_J' exactly when J' lies between j_min(J) and j_max(J)."""
    points = module.weights(8)
    rank = module.cartan.rank
    sets = [frozenset(s) for k in range(rank + 1) for s in itertools.combinations(range(rank), k)]

    def face(j):
        return frozenset(c for c in points if all(i in j or not c[i] for i in range(rank)))

    for j in sets:
        for k in sets:
            assert (face(j) == face(k)) == (module.j_min(j) <= k <= module.j_max(j))


@given(module_strategy())
def test_more_integrability_means_fewer_weights(module):
    """conv V and wt V shrink when I_V grows."""
    larger = HighestWeightModule(module.cartan, module.weight)
    assert set(larger.weights(8)) <= set(module.weights(8))


@given(module_strategy(names=("A2", "B2", "G2", "A3", "A1 x A1"), top=1))
def test_inclusion_is_inclusion_of_weights(module):
    """w·wt_J ⊆ w'·wt_K iff w'^{-1} w moves every weight of wt_J to one with support in K."""
    words = [(), *((i,) for i in module.integrable), *itertools.permutations(sorted(module.integrable), 2)][:5]
    sets = [f.nodes for f in module.faces()]
    points = module.weights(7)

    def lies_inside(word, j, outer_word, k):
        for c in points:
            if all(i in j or not c[i] for i in module.cartan.nodes):
                for i in (*reversed(word), *outer_word):
                    c = (*c[:i], c[i] + module.labels(c)[i], *c[i + 1 :])
                if any(c[i] for i in module.cartan.nodes - k):
                    return False
        return True

    for (w, j), (v, k) in itertools.product(itertools.product(words, sets), repeat=2):
        assert module.includes((w, j), (v, k)) == lies_inside(w, j, v, k), (w, j, v, k)


def test_the_lattice_is_graded_and_euler_holds_in_it():
    module = HighestWeightModule("B3", (1, 0, 1))
    graph = module.face_lattice()
    dims = networkx.get_node_attributes(graph, "dim")
    assert tuple(list(dims.values()).count(d) for d in range(4)) == module.f_vector()
    assert all(dims[b] == dims[a] + 1 for a, b in graph.edges)
    edges = [n for n, d in dims.items() if d == 1]
    assert all(graph.in_degree(e) == 2 and graph.out_degree(e) == 2 for e in edges)  # the diamond property
    assert all(module.includes(a, b) and not module.includes(b, a) for a, b in graph.edges)
    with pytest.raises(ValueError, match="limit"):
        module.face_lattice(limit=10)
    with pytest.raises(InfiniteError):
        HighestWeightModule("A1~", (1, 0)).face_lattice()


@given(module_strategy(names=("A2", "B2", "A3", "B3", "A1 x A2")))
def test_half_spaces_cut_out_exactly_the_weights(module):
    """Every weight is inside, and on a lattice box nothing else of the finite hull is (weights fill their hull)."""
    walls = module.half_spaces()
    weights = set(module.weights(7))
    for c in itertools.product(range(8), repeat=module.cartan.rank):
        if sum(c) <= 7 and all(not c[i] for i in module.cartan.nodes - module.j_min(module.cartan.nodes)):
            assert (c in weights) == all(h.value(c) >= 0 for h in walls)


@pytest.mark.parametrize("name", ["A2", "B2", "G2", "A3", "B3", "C3"])
def test_localisation_at_the_vertex_and_along_regular_faces(name):
    """The half-spaces through λ cut out the hull of the localised module; those touching wt_J, for regular λ, too."""
    rank = CartanType(name).rank
    for weight in itertools.product((0, 1, 2) if rank < 3 else (0, 1), repeat=rank):
        module = HighestWeightModule(name, weight)
        cone = {(h.normal, h.offset) for h in module.tangent_cone(())}
        assert cone == {(h.normal, h.offset) for h in module.vertex_localization().half_spaces()}
        if not all(weight):
            continue
        for size in range(rank + 1):
            for j in itertools.combinations(range(rank), size):
                face = [c for c in module.weights() if all(i in j or not c[i] for i in range(rank))]
                touching = {(h.normal, h.offset) for h in module.half_spaces() if min(map(h.value, face)) == 0}
                assert touching == {(h.normal, h.offset) for h in module.localize(j).half_spaces()}


def test_localisation_refuses_what_is_not_settled():
    module = HighestWeightModule("A2", (1, 0))
    with pytest.raises(UnsettledError, match="singular"):
        module.localize([0])
    assert module.localize([1]) == module.vertex_localization()
    assert HighestWeightModule("A2", (1, 1)).localize([0]).integrable == {0}


@pytest.mark.parametrize("name", ["A2", "B2"])
def test_the_universal_polyhedron_against_its_hull(name):
    """A slice of the cone spanned by (ω_i, w ω_i): faces of dimension d of the cone are those of dimension d - 1 of it."""
    universal = universal_weyl_polyhedron(name)
    points = []
    for i in range(2):
        fundamental = HighestWeightModule(name, [int(j == i) for j in range(2)])
        # in coordinates (λ, λ - x), cut at λ_0 + λ_1 = 1: the point is (λ_1, c)
        points += [[i, *c] for c in fundamental.weights() if fundamental.multiplicities()[c]]
    counts = count_faces(points, points)
    assert universal.f_vector() == (1, *counts)


def test_degeneration_sends_faces_to_faces():
    universal = universal_weyl_polyhedron("A3")
    for vanishing in universal.strata():
        special = {face.nodes for face in universal.fibre(vanishing).faces()}
        images = universal.degenerate(vanishing)
        assert set(images.values()) == special  # onto
        assert all(small <= big for big, small in images.items())


def test_weyl_elements_by_their_action_on_roots():
    cartan = CartanType("A2")
    assert WeylElement(cartan, (0, 1, 0)) == WeylElement(cartan, (1, 0, 1))
    assert (WeylElement(cartan, (0, 1)) * WeylElement(cartan, (1, 0))).is_identity()
    assert WeylElement(cartan, (0, 1)).in_product(frozenset({0}), frozenset({1}))
    assert not WeylElement(cartan, (1, 0)).in_product(frozenset({0}), frozenset({1}))


# --- names --------------------------------------------------------------------------------------------------------

SIMPLE = ["A1", "A5", "B2", "B4", "C3", "C5", "D4", "D6", "E6", "E7", "E8", "F4", "G2"]
UNTWISTED = ["A1~", "A4~", "B3~", "C2~", "C4~", "D4~", "D6~", "E6~", "E7~", "E8~", "F4~", "G2~"]
TWISTED = ["A2^(2)", "A4^(2)", "A8^(2)", "A5^(2)", "D5^(2)", "E6^(2)", "D4^(3)"]


@given(st.sampled_from([*SIMPLE, *UNTWISTED, *TWISTED]), st.randoms(use_true_random=False))
def test_a_renumbered_matrix_is_recognised(name, random):
    cartan = CartanType(name)
    order = list(range(cartan.rank))
    random.shuffle(order)
    other = CartanType.from_matrix([[cartan.matrix[i][j] for j in order] for i in order])
    assert other.name == name and other.kind == cartan.kind
    assert other.weyl_order() == cartan.weyl_order()


def test_affine_matrices_have_corank_one_and_proper_parts_of_finite_type():
    for name in UNTWISTED + TWISTED:
        cartan = CartanType(name)
        assert sympy.Matrix(cartan.matrix).rank() == cartan.rank - 1
        assert all(cartan.weyl_order(cartan.nodes - {i}) < math.inf for i in cartan.nodes)
    assert CartanType.from_matrix([[2, -3], [-2, 2]]).kind == "indefinite"
    assert CartanType("A2 x A1~").kind == "affine"


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matrix", "place"),
    [
        ([[2, -1], [0, 2]], r"\(0, 1\)"),
        ([[2, 1], [1, 2]], r"\(0, 1\)"),
        ([[2, -1], [-1, 3]], r"\(1, 1\)"),
        ([[2, -0.5], [-1, 2]], r"\(0, 1\)"),
        ([[2, -1]], "row 0"),
        ([], "empty"),
    ],
)
def test_not_a_cartan_matrix(matrix, place):
    with pytest.raises(ValueError, match=place):
        CartanType.from_matrix(matrix)


@pytest.mark.parametrize("name", ["E9", "D2", "X3", "A0", "A3^(3)", "", "B3^(2)"])
def test_not_a_name(name):
    with pytest.raises(ValueError, match="name"):
        CartanType(name)


def test_weights_are_exact_or_refused():
    for bad in (0.5, 1.0, 1j, sympy.Float(1)):
        with pytest.raises(TypeError, match="Fraction"):
            HighestWeightModule("A2", (1, bad))
    with pytest.raises(TypeError, match="symbol"):
        HighestWeightModule("A2", (1, "1"))
    with pytest.raises(ValueError, match="2 nodes"):
        HighestWeightModule("A2", (1, 0, 0))
    z = sympy.Symbol("z")
    symbolic = HighestWeightModule("A2", (z, sympy.Integer(1)))
    assert symbolic.integrable == {1} and symbolic.active == {0, 1}
    assert symbolic.f_vector() == HighestWeightModule("A2", (Fraction(1, 2), 1)).f_vector()
    assert symbolic.labels((1, 0)) == (z - 2, 2)


def test_integrability_needs_integers():
    with pytest.raises(ValueError, match="node 0"):
        HighestWeightModule("A2", (Fraction(1, 2), 1), integrable=(0,))
    with pytest.raises(ValueError, match="nodes"):
        HighestWeightModule("A2", (1, 1), integrable=(5,))
    with pytest.raises(InfiniteError, match="not integrable"):
        HighestWeightModule("A2", (1, 1), integrable=()).dimension()
    with pytest.raises(InfiniteError, match="infinitely many facets"):
        HighestWeightModule("A1~", (1, 0)).half_spaces()
    with pytest.raises(ValueError, match="depth"):
        HighestWeightModule("A2", (1, 1)).weights(-1)
    with pytest.raises(ValueError, match="inner"):
        HighestWeightModule("A2", (1, 1), integrable=(0,)).includes(((1,), ()), ((), ()))
