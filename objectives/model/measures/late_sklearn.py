"""scikit-learn's metrics, loaded when the first one is called: a second that few trainings need.

Entry point: `sklearn_metric`.
"""

from collections.abc import Callable
from typing import Any


def sklearn_metric(name: str) -> Callable[..., Any]:
    """Return a function of `sklearn.metrics` that loads the library when it is called.

    Args:
        name: Of the function.
    """

    def call(*arguments: Any, **options: Any) -> Any:
        from sklearn import metrics

        return getattr(metrics, name)(*arguments, **options)

    return call
