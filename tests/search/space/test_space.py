import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from widthwise.search.errors import SpaceTooLarge, SpecError
from widthwise.search.space.space import (
    SNAP_TOLERANCE,
    AbsentLast,
    Divisible,
    Order,
    Space,
    Tie,
    Width,
)
from widthwise.tests.search.space.spaces import (
    all_rows,
    brute_force,
    declarations,
    never_absent,
    spaces,
)

# --- counting, listing, membership -------------------------------------------------------------


@given(declarations())
def test_counts_and_lists_what_brute_force_finds(declared):
    expected = brute_force(*declared)
    if not expected:
        with pytest.raises(SpecError, match="no candidate meets"):
            Space(*declared)
        return
    if missing := never_absent(*declared):
        with pytest.raises(SpecError, match=f"width '{missing[0]}' is optional, but no candidate"):
            Space(*declared)
        return
    space = Space(*declared)
    assert space.size == len(expected)
    assert [tuple(row) for row in space.enumerate().tolist()] == expected


@given(spaces(), st.data())
def test_contains_exactly_the_listed_candidates(space, data):
    inside = set(all_rows(space))
    values = sorted({value for width in space.widths for value in (*width.values, 13)})
    row = tuple(data.draw(st.sampled_from(values)) for _ in space.names)
    assert space.contains(row) == (row in inside)
    assert space.contains_rows(np.array([row])).tolist() == [row in inside]
    assert (space.explain(row) is None) == (row in inside)
    assert space.contains(space.as_mapping(row)) == (row in inside)


@pytest.mark.parametrize(
    ("candidate", "sentence"),
    [
        pytest.param({"a": 16}, "width 'b' has no value; give one for each of a, b", id="missing"),
        pytest.param(
            {"a": 16, "b": 16, "bb": 1}, "there is no width 'bb' among a, b; did you", id="unknown"
        ),
        pytest.param({"a": 16, "b": 16.0}, "width 'b' is 16.0, expected an integer", id="float"),
        pytest.param({"a": True, "b": 16}, "width 'a' is True, expected an integer", id="bool"),
        pytest.param({"a": 16, "b": 10**30}, "expected an integer of at most", id="huge"),
        pytest.param({"a": 20, "b": 16}, "width 'a' is 20, expected one of its 4", id="off-grid"),
        pytest.param(
            {"a": 16, "b": 32}, "a is 16 and b is 32, but b must be at most a", id="order"
        ),
        pytest.param([16], "1 values given for 2 widths", id="short-row"),
    ],
)
def test_explains_why_a_candidate_is_outside(candidate, sentence):
    widths = [Width.range("a", 16, 64, 16), Width.range("b", 16, 64, 16)]
    space = Space(widths, [Order(("a", "b"), "non-increasing")])
    assert sentence in space.explain(candidate)
    assert not space.contains(candidate)


def test_enumerate_refuses_a_space_too_large_to_list():
    space = Space([Width.range(name, 1, 1025) for name in "ab"])
    with pytest.raises(SpaceTooLarge, match=r"1,050,625 candidates, more than the 1,048,576"):
        space.enumerate()


def test_counts_sixty_widths_exactly():
    widths = [Width.range(f"w{number}", 1, 10) for number in range(60)]
    assert Space(widths).size == 10**60


def test_rows_and_mappings_go_both_ways():
    space = Space([Width.range("a", 16, 64, 16), Width.range("b", 1, 3)])
    row = space.as_row({"b": 2, "a": 48})
    assert row.tolist() == [48, 2]
    assert list(space.as_mapping(row).items()) == [("a", 48), ("b", 2)]
    assert {type(value) for value in space.as_mapping(row).values()} == {int}


# --- sampling ----------------------------------------------------------------------------------


@given(spaces(), st.integers(0, 20), st.integers(0, 2**32))
def test_samples_are_in_the_space(space, number, seed):
    rows = space.sample(number, np.random.default_rng(seed))
    assert rows.shape == (number, space.dimensions)
    assert space.contains_rows(rows).all()


@pytest.mark.parametrize(
    "constraints",
    [
        pytest.param([], id="free"),
        pytest.param([Order(("c", "a", "b"), "non-increasing")], id="order"),
        pytest.param([Order(("a", "b"), "non-decreasing"), Tie(("b", "c"))], id="tie"),
        pytest.param([Divisible("a", "b"), Divisible("a", "c")], id="divisible"),
    ],
)
def test_samples_are_uniform(constraints):
    # Pearson's statistic has mean k - 1 and deviation sqrt(2(k - 1)); four deviations above the
    # mean would come up by chance in a few of 10,000 seeds, and a draw that is uniform along
    # each width but not over the constrained lattice exceeds it hundredfold.
    space = Space([Width.range(name, 1, 6) for name in "abc"], constraints)
    candidates = space.enumerate().tolist()
    draws = 400 * len(candidates)
    rows, counts = np.unique(
        space.sample(draws, np.random.default_rng(7)), axis=0, return_counts=True
    )
    assert rows.tolist() == candidates
    statistic = float(((counts - 400) ** 2 / 400).sum())
    freedom = len(candidates) - 1
    assert statistic < freedom + 4 * np.sqrt(2 * freedom)


def test_the_same_seed_draws_the_same_candidates():
    space = Space([Width.range(name, 1, 50) for name in "abc"], [Tie(("a", "c"))])
    first, second = (space.sample(20, np.random.default_rng(3)) for _ in range(2))
    assert first.tolist() == second.tolist()


# --- geometry ----------------------------------------------------------------------------------


@given(spaces())
def test_encodings_lie_in_the_unit_cube_and_rise_with_the_width(space):
    rows = space.enumerate()
    encoded = space.encode(rows)
    optional = [column for column, width in enumerate(space.widths) if width.optional]
    assert encoded.shape == (len(rows), space.dimensions + len(optional))
    assert ((encoded[:, space.dimensions :] == 1) == (rows[:, optional] == 0)).all()
    assert ((encoded >= 0) & (encoded <= 1)).all()
    for column, width in enumerate(space.widths):
        there = rows[:, column] > 0
        order = np.argsort(rows[there, column], kind="stable")
        rises = np.diff(encoded[there][order, column])[np.diff(rows[there][order, column]) > 0]
        assert (rises > 0).all()
        assert (encoded[~there, column] == 0.5).all()
        assert width.encode(width.low) == 0
        assert width.encode(width.high) == (0 if width.low == width.high else 1)


@pytest.mark.parametrize(("scale", "position"), [("log", 0.4), ("linear", 48 / 496)])
def test_encodes_by_the_scale(scale, position):
    space = Space([Width.range("a", 16, 512, 16, scale)])
    assert space.encode([[64]]).tolist() == [[pytest.approx(position)]]


@given(spaces())
def test_neighbours_are_one_step_along_one_variable_and_mutual(space):
    inside = all_rows(space)
    for row in inside:
        neighbour_set = {tuple(other) for other in space.neighbours(row).tolist()}
        assert neighbour_set <= set(inside) - {row}
        assert all(
            row in {tuple(back) for back in space.neighbours(other).tolist()}
            for other in neighbour_set
        )


@given(spaces())
def test_neighbours_are_the_next_candidates_along_each_untied_width(space):
    tied = {name for rule in space.constraints if isinstance(rule, Tie) for name in rule.names}
    inside = all_rows(space)
    for row in inside[:10]:
        neighbour_set = {tuple(other) for other in space.neighbours(row).tolist()}
        for column, name in enumerate(space.names):
            if name in tied:
                continue
            line = [
                other
                for other in inside
                if other[:column] + other[column + 1 :] == row[:column] + row[column + 1 :]
            ]
            here = line.index(row)
            assert set(line[max(here - 1, 0) : here + 2]) - {row} <= neighbour_set


def test_tied_widths_move_together():
    space = Space([Width.range(name, 1, 3) for name in "abc"], [Tie(("a", "c"))])
    assert sorted(space.neighbours((2, 1, 2)).tolist()) == [[1, 1, 1], [2, 2, 2], [3, 1, 3]]


def test_neighbours_of_an_outsider_are_refused():
    with pytest.raises(SpecError, match="width 'a' is 4"):
        Space([Width.range("a", 1, 3)]).neighbours((4,))


@given(spaces(), st.data())
def test_snap_finds_the_nearest_candidate(space, data):
    target = [data.draw(st.floats(0.5, 20)) for _ in space.names]
    rows = np.array(all_rows(space))
    absences = (rows == 0).sum(axis=1)
    kept = rows[absences == absences.min()]  # as many layers as the constraints allow
    aims = space.encode(target)

    def distances(rows):
        offsets = space.encode(rows)[..., : space.dimensions] - aims[: space.dimensions]
        return (np.where(rows > 0, offsets, 0.0) ** 2).sum(axis=-1)

    snapped = space.snap(target)
    assert space.contains(snapped)
    assert (snapped == 0).sum() == absences.min()
    assert distances(snapped) == pytest.approx(distances(kept).min(), abs=1e-8)


@given(spaces())
def test_snap_leaves_candidates_where_they_are(space):
    for row in space.enumerate():
        assert space.snap(row).tolist() == row.tolist()
        assert space.snap_down(row).tolist() == row.tolist()


@given(spaces(), st.data())
def test_snap_down_finds_the_largest_candidate_below(space, data):
    target = np.array([data.draw(st.floats(0.5, 20)) for _ in space.names])
    rows = np.array(all_rows(space))
    below = rows[(rows <= target * (1 + SNAP_TOLERANCE)).all(axis=1)]
    snapped = space.snap_down(dict(zip(space.names, target, strict=True)))
    if not len(below):
        assert snapped is None
        return
    assert snapped.tolist() in below.tolist()

    def size(rows):
        return np.log2(np.where(rows, rows, 0.5)).sum(axis=-1)

    assert size(snapped) == pytest.approx(size(below).max())


def test_snap_down_forgives_the_rounding_of_a_product():
    assert 0.29 * 100 < 29
    assert Space([Width.range("a", 1, 100)]).snap_down([0.29 * 100]).tolist() == [29]


@pytest.mark.parametrize("number", [0.0, -1.0, np.nan, np.inf], ids=str)
@pytest.mark.parametrize("method", ["snap", "snap_down"])
def test_snap_refuses_what_is_not_positive(method, number):
    space = Space([Width.range("a", 1, 3)])
    with pytest.raises(SpecError, match=r"width 'a' is .*, expected a positive number"):
        getattr(space, method)([number])


@given(spaces())
def test_smallest_and_largest_are_the_extreme_candidates(space):
    rows = np.array(all_rows(space))
    logs = np.log2(np.where(rows, rows, 0.5))  # an absent layer is half of the least there is
    sums = logs.sum(axis=1)
    for corner, bound, extreme in (
        (space.smallest(), rows.min(axis=0), sums.min()),
        (space.largest(), rows.max(axis=0), sums.max()),
    ):
        assert space.contains(corner)
        assert np.log2(np.where(corner, corner, 0.5)).sum() == pytest.approx(extreme)
        if space.contains(bound):
            assert corner.tolist() == bound.tolist()


# --- declaring ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        pytest.param(
            lambda: Width.range("a", 512, 16),
            "width 'a': low 512 is above high 16; swap",
            id="swap",
        ),
        pytest.param(lambda: Width.range("a", 0, 16), "low is 0, expected 1 to", id="low"),
        pytest.param(lambda: Width.range("a", 1, 16, 0), "step is 0, expected 1 to", id="step"),
        pytest.param(lambda: Width.range("a", 1, 10**12), "high is 1000000000000", id="high"),
        pytest.param(
            lambda: Width.range("a", 1, 10**6), "1,000,000 values, more than the 65,536", id="many"
        ),
        pytest.param(lambda: Width.range("a", 1.0, 16), "low is 1.0, expected an int", id="float"),
        pytest.param(lambda: Width.of("a", [True, 2]), "choice is True", id="bool"),
        pytest.param(lambda: Width.of("a", []), "width 'a' has no choices", id="empty"),
        pytest.param(
            lambda: Width.of("a", [0, 8]),
            "choice is 0, expected an integer of at least 1; for a layer that may be absent, leave",
            id="zero",
        ),
        pytest.param(
            lambda: Width.of("a", [0], optional=True), "width 'a' has no choices", id="only-absent"
        ),
        pytest.param(
            lambda: Space([Width.of("a", [8], optional=True)]),
            "a is optional, so that no layer might be left; take optional = true from one width",
            id="all-absent",
        ),
        pytest.param(
            lambda: Space(
                [Width.of("a", [8]), Width.of("b", [8], optional=True), Width.of("c", [8])],
                [Order(("a", "b", "c"), "non-increasing")],
            ),
            "width 'b' is optional, but no candidate without it meets (order = 'non-increasing' "
            "over a, b, c); make the widths beside it optional, too",
            id="never-absent",
        ),
        pytest.param(lambda: Width.of("a", 3), "choices are 3, expected a list", id="no-list"),
        pytest.param(lambda: Width.of("a", "16"), "choice is '1'", id="text"),
        pytest.param(lambda: Width.of("a", [1], "cubic"), "scale is 'cubic'", id="scale"),
        pytest.param(lambda: Width.of("a=1", [1]), "width name 'a=1' must be a word", id="name"),
        pytest.param(lambda: Order("ab", "non-increasing"), "names 'ab', expected a", id="word"),
        pytest.param(lambda: Order(("a", "b"), "up"), "order is 'up', expected", id="direction"),
        pytest.param(lambda: Tie(("a",)), "tie names a, expected at least two", id="lonely"),
        pytest.param(lambda: Tie(()), "tie names no width, expected at least two", id="nobody"),
        pytest.param(lambda: Divisible("a", "a"), "names a width twice in a, a", id="self"),
        pytest.param(lambda: Space([]), "the space has no widths", id="no-widths"),
        pytest.param(
            lambda: Space([Width.of("a", [1])] * 2), "'a' is declared 2 times", id="same-name"
        ),
        pytest.param(
            lambda: Space([Width.of("hidden1", [1])], [Tie(("hidden1", "hiden1"))]),
            "tie of hidden1, hiden1: there is no width 'hiden1' among hidden1; did you mean 'hidd",
            id="unknown-name",
        ),
    ],
)
def test_refuses_with_a_sentence(make, sentence):
    with pytest.raises(SpecError) as refused:
        make()
    assert sentence in str(refused.value)
    assert refused.value.exit_code == 2


@given(spaces())
def test_distributions_hold_every_candidate(space):
    for row in space.enumerate():
        for name, value in space.as_mapping(row).items():
            distribution = space.distributions()[name]
            assert distribution.to_external_repr(distribution.to_internal_repr(value)) == value
            assert distribution._contains(distribution.to_internal_repr(value))


def test_pickles_small_and_equal():
    names = [f"w{number}" for number in range(60)]
    space = Space([Width.range(name, 1, 32) for name in names], [Order(names, "non-increasing")])
    fresh = len(pickle.dumps(space))
    assert space.size == pickle.loads(pickle.dumps(space)).size
    assert len(pickle.dumps(space)) == fresh < 10_000
    assert pickle.loads(pickle.dumps(space)) == space


# --- layers that may be absent -----------------------------------------------------------------

THREE = [
    Width.of("a", [8, 16]),
    Width.of("b", [8, 16], optional=True),
    Width.of("c", [8, 16], optional=True),
]


def test_an_order_ends_with_its_first_absent_layer():
    space = Space(THREE, [Order(("a", "b", "c"), "non-increasing")])
    assert [tuple(row) for row in space.enumerate().tolist()] == [
        (8, 0, 0), (8, 8, 0), (8, 8, 8),
        (16, 0, 0), (16, 8, 0), (16, 8, 8), (16, 16, 0), (16, 16, 8), (16, 16, 16),
    ]  # fmt: skip


def test_the_last_of_layers_that_are_built_alike_is_absent_first():
    space = Space(THREE, [AbsentLast(("b", "c"))])
    assert space.size == 2 * (1 + 2 + 4)
    assert "c must be absent (0) where b is" in space.explain((8, 0, 8))


def test_absence_is_a_column_of_its_own_in_the_encoding():
    widths = [Width.of("a", [8, 16, 32], optional=True), Width.of("b", [10, 20, 30], "linear")]
    encoded = Space(widths).encode([(8, 10), (32, 15), (0, 30)])
    assert encoded.tolist() == [[0.0, 0.0, 0.0], [1.0, 0.25, 0.0], [0.5, 1.0, 1.0]]
    assert np.isfinite(encoded).all()


def test_a_layer_is_absent_only_where_the_target_says_so():
    space = Space(THREE)
    assert space.snap([12.0, 0.001, 0.0]).tolist() == [16, 8, 0]
    with pytest.raises(SpecError, match="width 'a' is 0"):
        space.snap([0.0, 8.0, 8.0])


def test_the_next_width_down_from_the_least_is_none():
    space = Space(THREE)
    assert (8, 0, 16) in [tuple(row) for row in space.neighbours((8, 8, 16)).tolist()]
    assert (8, 8, 16) in [tuple(row) for row in space.neighbours((8, 0, 16)).tolist()]
