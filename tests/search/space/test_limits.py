import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from widthwise.search.errors import SpecError
from widthwise.search.space.limits import LIMIT_NAMES, Limits, describe_nothing_feasible
from widthwise.search.units import COST_BY_NAME, parse_cost, parse_count, parse_memory

BYTES = ("train_memory", "inference_memory", "file_size")

names = st.sampled_from(LIMIT_NAMES)
amounts = st.one_of(st.integers(1, 3000), st.integers(1, 2**63 - 1))
bounds = st.one_of(amounts, st.integers(1, 10**24))
limits = st.dictionaries(names, bounds, max_size=5).map(lambda bounds: Limits(**bounds))


@st.composite
def costs(draw, max_count=5):
    number = draw(st.integers(1, max_count))
    row = st.lists(amounts, min_size=number, max_size=number)
    return {name: np.array(draw(row), dtype=np.int64) for name in LIMIT_NAMES}


def row_of(many, index):
    return {name: int(values[index]) for name, values in many.items()}


@given(limits, costs())
def test_the_gate_agrees_however_it_is_asked(bounds, many):
    feasible = bounds.is_feasible(many)
    for index, within in enumerate(feasible.tolist()):
        single = row_of(many, index)
        assert within == all(single[name] <= limit for name, limit in bounds.as_dict().items())
        assert bounds.admits(single) == within
        assert all(value <= 0 for value in bounds.violations(single).values()) == within


@given(limits, costs())
def test_nearest_has_the_least_greatest_share(bounds, many):
    if not bounds.names():
        assert bounds.nearest_index(many) == 0
        return
    shares = [
        max(Fraction(row_of(many, index)[name], limit) for name, limit in bounds.as_dict().items())
        for index in range(len(many["flops"]))
    ]
    assert float(shares[bounds.nearest_index(many)]) == pytest.approx(float(min(shares)), rel=1e-12)


@given(limits, costs())
def test_the_binding_limit_rejects_most(bounds, many):
    rejected = {
        name: sum(int(value) > limit for value in many[name])
        for name, limit in bounds.as_dict().items()
    }
    binding = bounds.tightest_limit(many)
    if not rejected:
        assert binding is None
    else:
        assert rejected[binding] == max(rejected.values())


def test_of_limits_that_reject_equally_the_fuller_one_binds():
    many = {"flops": np.array([5, 5]), "parameters": np.array([8, 9])}
    assert Limits(flops=10, parameters=10).tightest_limit(many) == "parameters"
    assert Limits(flops=5, parameters=10).tightest_limit(many) == "flops"


def test_binding_of_no_candidates_is_nothing():
    assert Limits(flops=10).tightest_limit({"flops": np.array([], dtype=np.int64)}) is None


def test_a_limit_that_is_met_exactly_admits():
    bounds = Limits(flops=2_000_000)
    assert bounds.admits({"flops": 2_000_000})
    assert not bounds.admits({"flops": 2_000_001})
    assert bounds.violations({"flops": 3_000_000}) == {"flops": 0.5}


def test_violations_see_the_last_digit_of_a_huge_cost():
    bounds = Limits(flops=2**60)
    assert bounds.violations({"flops": 2**60 + 1})["flops"] > 0
    assert bounds.violations({"flops": 2**60}) == {"flops": 0.0}


def test_no_limits_admit_everything():
    bounds = Limits()
    assert bounds.names() == ()
    assert bounds.is_feasible({"flops": np.array([1, 2**62])}).tolist() == [True, True]
    assert bounds.admits({})
    assert bounds.violations({}) == {} == bounds.format_limits()


def test_other_costs_are_no_business_of_a_limit():
    many = {"flops": np.array([1, 3]), "step_flops": np.array([10**9, 10**9])}
    assert Limits(flops=2).is_feasible(many).tolist() == [True, False]


@pytest.mark.parametrize("value", [0, -1, 1.5, 2.0, True, "2M", 10**24 + 1], ids=str)
def test_refuses_what_is_no_bound(value):
    with pytest.raises(SpecError) as refused:
        Limits(parameters=value)
    assert str(refused.value) == (
        f"limit 'parameters' is {value!r}, expected a whole number from 1 to 10^24"
    )


@pytest.mark.parametrize(
    ("name", "limit", "shown"),
    [
        ("flops", 2_000_000, "2 MFLOPs"),
        ("flops", 2_000_001, "2,000,001 FLOPs"),
        ("macs", 1_500, "1.5 kMACs"),
        ("parameters", 200_000, "200k parameters"),
        ("train_memory", 64 * 2**20, "64 MiB"),
        ("train_memory", 10**9, "1 GB"),
        ("inference_memory", 10**9 + 1, "954 MiB (1,000,000,001 bytes)"),
        ("file_size", 4 * 2**20, "4 MiB"),
    ],
    ids=str,
)
def test_shows_limits_exactly(name, limit, shown):
    assert Limits(**{name: limit}).format_limits() == {name: shown}


def test_names_the_limits_that_would_admit_the_nearest():
    bounds = Limits(flops=2_000_000, parameters=4_000, train_memory=60 * 2**20)
    sentence = describe_nothing_feasible(
        bounds,
        {"hidden1": 16, "hidden2": 32},
        {"flops": 8_000, "parameters": 4_392, "train_memory": 66_900_000},
    )
    assert sentence == (
        "no candidate meets the limits: the nearest, hidden1=16, hidden2=32, needs 4,392 "
        "parameters (limit 4,000) and 63.8 MiB of training memory (limit 60 MiB); "
        'set parameters = "4.4k" and train_memory = "63.9 MiB" to admit it'
    )


def test_tells_apart_what_would_be_shown_alike():
    sentence = describe_nothing_feasible(
        Limits(train_memory=64 * 2**20), {"a": 1}, {"train_memory": 64 * 2**20 + 1}
    )
    assert "67,108,865 bytes of training memory (limit 67,108,864 bytes)" in sentence
    assert 'train_memory = "64.1 MiB"' in sentence


def test_keeps_the_unit_the_limit_was_written_in():
    sentence = describe_nothing_feasible(
        Limits(train_memory=10**9), {"a": 1}, {"train_memory": 1_234_567_890}
    )
    assert "needs 1.23 GB of training memory (limit 1 GB)" in sentence
    assert 'train_memory = "1.24 GB"' in sentence


@given(limits, costs(max_count=1))
@example(
    Limits(inference_memory=1, parameters=10**22 + 1),
    {name: np.array([2 if name == "inference_memory" else 1]) for name in LIMIT_NAMES},
)
@example(
    Limits(parameters=1, train_memory=999_999_999_774_679_019_552_768),
    {name: np.array([2 if name == "parameters" else 1]) for name in LIMIT_NAMES},
)
def test_the_advised_limits_admit_the_candidate_when_typed(bounds, many):
    single = row_of(many, 0)
    if bounds.admits(single):
        return
    sentence = describe_nothing_feasible(bounds, {"a": 16}, single)
    typed = {
        name: parse_cost(name, text) for name, text in re.findall(r'(\w+) = "([^"]+)"', sentence)
    }
    assert set(typed) == {name for name, limit in bounds.as_dict().items() if single[name] > limit}
    assert Limits(**(bounds.as_dict() | typed)).admits(single)
    for name, limit in bounds.as_dict().items():
        assert parse_shown(name, bounds.format_limits()[name]) == limit


def parse_shown(name, text):
    """The exact limit that a shown one stands for."""
    if name in BYTES:
        inner = re.search(r"\((.*) bytes\)", text)
        return parse_memory(f"{inner[1]} bytes" if inner else text)
    return parse_count(text, COST_BY_NAME[name].unit)
