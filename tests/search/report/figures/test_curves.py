"""Learning curves: by epochs trained, also where not every epoch was validated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from widthwise.search.report.figures.curves import epochs_of
from widthwise.tests.search.report.made_study import make_study


def test_a_curve_counts_epochs_and_not_validations() -> None:
    trial = make_study().trials[0]
    short_epochs = replace(trial, curve=[0.5] * 300, epochs=1500)
    assert epochs_of(short_epochs, 300)[[0, 1, -1]].tolist() == [5.0, 10.0, 1500.0]
    uneven = replace(trial, curve=[0.5] * 4, epochs=10)
    assert epochs_of(uneven, 4).tolist() == [3.0, 6.0, 9.0, 10.0]
    each = replace(trial, curve=[0.5] * 7, epochs=7)
    assert np.array_equal(epochs_of(each, 7), np.arange(1.0, 8.0))
    assert epochs_of(replace(trial, curve=[], epochs=None), 2).tolist() == [1.0, 2.0]
