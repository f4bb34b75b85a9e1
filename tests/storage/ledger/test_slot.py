"""What a slot's outcome means elsewhere, and how widths are written down."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState
from widthwise.storage.ledger.slot import TrialOutcome, plain_widths, widths_key


@pytest.mark.parametrize(
    ("outcome", "trial_state", "count_name"),
    [
        (TrialOutcome.COMPLETE, TrialState.COMPLETE, "complete"),
        (TrialOutcome.PRUNED, TrialState.PRUNED, "pruned"),
        (TrialOutcome.INFEASIBLE, TrialState.PRUNED, "pruned"),
        (TrialOutcome.CANCELLED, TrialState.PRUNED, "pruned"),
        (TrialOutcome.NAN, TrialState.FAIL, "failed"),
        (TrialOutcome.OUT_OF_MEMORY, TrialState.FAIL, "failed"),
        (TrialOutcome.ERROR, TrialState.FAIL, "failed"),
    ],
    ids=str,
)
def test_an_outcome_has_a_state_of_optunas_and_is_counted_once(outcome, trial_state, count_name):
    assert outcome.trial_state == trial_state
    assert outcome.count_name == count_name
    assert outcome.is_failure == (count_name == "failed")


def test_an_unknown_outcome_is_refused():
    with pytest.raises(ValueError, match="finished"):
        TrialOutcome("finished")


def test_widths_of_numpy_become_integers():
    assert plain_widths({"a": np.int64(8)}) == {"a": 8}
    assert type(plain_widths({"a": np.int64(8)})["a"]) is int


@given(
    widths=st.dictionaries(st.text(min_size=1), st.integers(1, 10**6), min_size=1),
    seed=st.randoms(use_true_random=False),
)
def test_the_key_of_widths_ignores_their_order_and_nothing_else(widths, seed):
    names = list(widths)
    seed.shuffle(names)
    assert widths_key({name: widths[name] for name in names}) == widths_key(widths)
    assert widths_key({**widths, names[0]: widths[names[0]] + 1}) != widths_key(widths)
