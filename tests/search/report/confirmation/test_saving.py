"""What a network saves against the largest that fits."""

import pytest
from widthwise.search.errors import SpecError
from widthwise.search.report.confirmation.saving import (
    JOULES_PER_FLOP,
    find_savings,
    stated_joules_per_flop,
)
from widthwise.tests.search.report.confirmation.confirmation_inputs import (
    LARGEST,
    RECOMMENDED,
    RULE,
    contender,
    training,
)


def runs(latency: bool = False):
    return [
        training(
            item,
            index,
            0.9,
            seconds=seconds + index,
            costs={"latency": seconds / 1000} if latency else None,
        )
        for item, seconds in ((RECOMMENDED, 1.0), (LARGEST, 3.0))
        for index in range(3)
    ]


def test_counted_costs_measured_times_and_estimated_energy():
    savings = {saving.name: saving for saving in find_savings(RECOMMENDED, LARGEST, runs())}
    assert list(savings) == ["parameters", "flops", "training_seconds", "inference_joules"]
    assert savings["flops"].share == pytest.approx(0.4)
    time = savings["training_seconds"]
    assert (time.chosen, time.largest) == pytest.approx((2.0, 4.0))
    assert time.chosen_deviation == pytest.approx(1.0)
    assert time.sentence() == "training time 2 s ± 1 s instead of 4 s ± 1 s (50 %)"
    energy = savings["inference_joules"]
    assert energy.chosen == pytest.approx(1e6 * 4000 * JOULES_PER_FLOP)


def test_a_small_share_is_not_rounded_to_nothing():
    huge = contender("largest that fits", 10_000)
    [flops] = [each for each in find_savings(RULE, huge, []) if each.name == "flops"]
    assert flops.sentence().endswith("(0.1 %)")


def test_the_rate_of_energy_may_be_another():
    [energy] = [
        saving
        for saving in find_savings(RECOMMENDED, LARGEST, runs(), joules_per_flop=1e-12)
        if saving.unit == "J"
    ]
    assert energy.largest == pytest.approx(1e6 * 10_000 * 1e-12)
    assert energy.share == pytest.approx(0.4)


def test_a_measured_latency_counts():
    savings = {s.name: s for s in find_savings(RECOMMENDED, LARGEST, runs(latency=True))}
    assert savings["latency"].sentence() == "latency 1 ms instead of 3 ms (33 %)"


def test_without_any_time_it_is_left_out():
    untimed = [training(RECOMMENDED, 0, 0.9, seconds=None), training(LARGEST, 0, 0.9, seconds=None)]
    names = {saving.name for saving in find_savings(RECOMMENDED, LARGEST, untimed)}
    assert "training_seconds" not in names


@pytest.mark.parametrize(
    ("stated", "joules"),
    [(None, JOULES_PER_FLOP), ("", JOULES_PER_FLOP), ("1e-12", 1e-12), (" 3e-11 ", 3e-11)],
    ids=str,
)
def test_the_rate_of_the_device_may_be_stated(stated, joules):
    environment = {} if stated is None else {"WIDTHWISE_JOULES_PER_FLOP": stated}
    assert stated_joules_per_flop(environment) == joules


@pytest.mark.parametrize("stated", ["0", "-1e-12", "nan", "inf", "20 pJ"])
def test_a_rate_that_is_none_is_refused(stated):
    with pytest.raises(SpecError, match=f'WIDTHWISE_JOULES_PER_FLOP: found "{stated}"'):
        stated_joules_per_flop({"WIDTHWISE_JOULES_PER_FLOP": stated})
