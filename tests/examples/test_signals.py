"""The recurrent classifier of waveforms, against a linear model of the same samples."""

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from .command import load_example, train_example


def test_it_tells_waveforms_apart_where_a_linear_model_cannot() -> None:
    x, kinds = load_example("signals").load()
    linear = cross_val_score(LogisticRegression(), x, kinds, cv=3).mean()
    value = train_example("signals", {"hidden": 24, "depth": 1})
    assert linear < 0.6
    assert value > 0.9
