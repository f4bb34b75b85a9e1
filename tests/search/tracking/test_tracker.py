"""What a tracker is told of a trial."""

from __future__ import annotations

from widthwise.tests.search.tracking.runs import a_trial


def test_parameters_are_the_widths_and_then_the_rest() -> None:
    trial = a_trial(overrides={"proxy.epochs": 9})
    assert list(trial.parameters.items()) == [
        ("hidden1", 64),
        ("hidden2", 32),
        ("cost/parameters", 4810),
        ("cost/flops", 9000),
        ("proxy.epochs", 9),
        ("seed", 2**40 + 1),
        ("origin", "sampler"),
    ]


def test_a_width_keeps_its_value_whatever_it_is_called() -> None:
    widths = {"seed": 8, "origin": 16}
    parameters = a_trial(widths=widths).parameters
    assert {name: parameters[name] for name in widths} == widths
