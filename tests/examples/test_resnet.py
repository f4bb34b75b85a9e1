"""The residual network on digits, against a linear model of the same pixels."""

from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from .command import train_example


def test_it_reads_digits_as_well_as_a_linear_model() -> None:
    x, y = load_digits(return_X_y=True)
    linear = cross_val_score(LogisticRegression(max_iter=200), x[::3] / 16, y[::3], cv=3).mean()
    value = train_example("resnet", {"channels1": 8, "channels2": 16, "depth": 1})
    assert value > linear - 0.02
