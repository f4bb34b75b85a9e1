from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from widthwise.search.errors import SpaceTooLarge
from widthwise.search.space.decision_diagram import MAX_WORK_STEPS, Relation
from widthwise.search.space.lattice import Lattice, connected_components
from widthwise.search.space.paths import DiagramPaths


@st.composite
def tables(draw):
    """Sizes of some variables and arbitrary tables of allowed pairs between them."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    relations = []
    for _ in range(draw(st.integers(0, 5)) if len(sizes) > 1 else 0):
        first, second = draw(st.permutations(range(len(sizes))))[:2]
        cells = draw(st.lists(st.booleans(), min_size=16, max_size=16))
        allowed = np.array(cells).reshape(4, 4)[: sizes[first], : sizes[second]]
        relations.append(Relation(first=first, second=second, allowed=allowed))
    return sizes, relations


def brute_force(sizes, relations):
    return [
        list(point)
        for point in product(*map(range, sizes))
        if all(rule.allowed[point[rule.first], point[rule.second]] for rule in relations)
    ]


def chain(length, values):
    """Variables of which none is above the one before."""
    down = np.tri(values, dtype=bool)
    return [values] * length, [
        Relation(first=variable, second=variable + 1, allowed=down)
        for variable in range(length - 1)
    ]


@given(tables())
def test_points_are_those_of_brute_force(declared):
    expected = brute_force(*declared)
    lattice = Lattice(*declared)
    assert lattice.count == len(expected)
    assert lattice.is_empty == (not expected)
    assert lattice.points().tolist() == expected


@given(tables())
def test_shares_lead_to_each_point_equally_often(declared):
    # The chance of a point is the product of the shares along its path: exact, where a draw
    # could only ever be tested up to chance.
    frontier = DiagramPaths(*declared)
    if frontier.is_empty:
        return
    chances = np.ones(frontier.count)
    states = np.zeros(frontier.count, dtype=int)
    points = frontier.points()
    for layer, shares in zip(frontier._layers, frontier._cumulative_shares, strict=True):
        for row, point in enumerate(points):
            leaving = range(layer.edge_offsets[states[row]], layer.edge_offsets[states[row] + 1])
            (edge,) = [e for e in leaving if layer.values[e] == point[layer.variable]]
            chances[row] *= shares[edge + 1] - shares[edge]
            states[row] = layer.targets[edge]
    np.testing.assert_allclose(chances, 1 / frontier.count, rtol=1e-12)


@given(tables(), st.data())
def test_cheapest_is_the_least_sum(declared, data):
    sizes, relations = declared
    prices = st.one_of(st.integers(0, 9).map(float), st.just(np.inf))
    costs = [np.array([data.draw(prices) for _ in range(size)]) for size in sizes]
    sums = [sum(costs[v][i] for v, i in enumerate(p)) for p in brute_force(sizes, relations)]
    best = Lattice(sizes, relations).min_cost_point(costs)
    if not np.isfinite(min(sums, default=np.inf)):
        assert best is None
        return
    assert best.tolist() in brute_force(sizes, relations)
    assert sum(costs[v][i] for v, i in enumerate(best)) == min(sums)


@given(tables())
def test_neighbours_are_the_next_points_along_each_variable(declared):
    points = brute_force(*declared)
    for point in points[:5]:
        expected = []
        for variable in range(len(point)):
            line = [p for p in points if [*p[:variable], *p[variable + 1 :]] == [
                *point[:variable], *point[variable + 1 :]
            ]]  # fmt: skip
            here = line.index(point)
            expected += line[max(here - 1, 0) : here] + line[here + 1 : here + 2]
        assert Lattice(*declared).neighbours(np.array(point)).tolist() == expected


@pytest.mark.parametrize(
    ("length", "values"),
    [(1, 7), (3, 4), (30, 32), (60, 32), (60, 200)],
    ids=lambda number: str(number),
)
def test_counts_chains_by_the_binomial_formula(length, values):
    # Non-increasing sequences are multisets: C(values + length - 1, length), to every digit.
    assert Lattice(*chain(length, values)).count == comb(values + length - 1, length)


def test_draws_from_long_chains_stay_in_them_and_reach_their_middle():
    lattice = Lattice(*chain(60, 32))
    points = lattice.sample(500, np.random.default_rng(0))
    assert (np.diff(points, axis=1) <= 0).all()
    # In a uniform multiset of 60 out of 0 … 31 the mean value is 15.5 by symmetry.
    assert points.mean() == pytest.approx(15.5, abs=0.5)


def test_star_of_constraints_is_counted_from_its_centre():
    # Forty multiples of one divisor: placing the divisor first keeps two states, last 2^40.
    even = np.array([[True, True], [False, True]])
    relations = [Relation(first=leaf, second=40, allowed=even) for leaf in range(40)]
    assert Lattice([2] * 41, relations).count == 1 + 2**40


def test_the_work_is_bounded():
    values = 300
    anything = np.ones((values, values), dtype=bool)
    relations = [Relation(first=a, second=b, allowed=anything) for a in range(4) for b in range(a)]
    assert values**3 > MAX_WORK_STEPS
    with pytest.raises(SpaceTooLarge, match="between 4 widths of up to 300 values take more than"):
        Lattice([values] * 4, relations)


@given(st.integers(1, 8), st.data())
def test_groups_are_what_links_connect(number, data):
    member = st.integers(0, number - 1)
    links = data.draw(st.lists(st.tuples(member, member), max_size=8))
    actual = connected_components(number, links)
    assert sorted(member for group in actual for member in group) == list(range(number))
    assert all(group == sorted(group) for group in actual)
    assert [group[0] for group in actual] == sorted(group[0] for group in actual)
    for group in actual:
        reached = {group[0]}
        for _ in range(number):
            reached |= {b for link in links for a, b in (link, link[::-1]) if a in reached}
        assert reached == set(group)
