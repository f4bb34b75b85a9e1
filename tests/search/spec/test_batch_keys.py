"""What a spec may not ask of data in batches, or of data without targets."""

from typing import Any

import pytest
from widthwise.search.errors import SpecError
from widthwise.search.spec.batch_keys import check_batch_keys
from widthwise.search.spec.spec import Spec


def spec(**proxy: Any) -> Spec:
    return Spec.model_validate(
        {
            "study": {"name": "s"},
            "model": {"build": "own.py:build"},
            "widths": {"a": [2, 4]},
            "proxy": {"data": "own.py:load", **proxy},
        }
    )


@pytest.mark.parametrize(
    ("proxy", "has_targets"),
    [
        pytest.param({"folds": 1, "engine": "plain"}, True, id="neutral"),
        pytest.param({"loss": "cross_entropy", "metric": "accuracy"}, True, id="with targets"),
        pytest.param({"loss": "model", "metric": "perplexity"}, False, id="own loss of the model"),
        pytest.param({"loss": "own.py:loss", "metric": "loss"}, False, id="own loss"),
        pytest.param({"loss": "own.py:loss", "metric": "own.py:score"}, False, id="own metric"),
    ],
)
def test_what_batches_can_give_is_let_through(proxy: Any, has_targets: bool) -> None:
    check_batch_keys(spec(**proxy), has_targets=has_targets)


@pytest.mark.parametrize(
    ("proxy", "has_targets", "says"),
    [
        pytest.param({"folds": 3}, True, "proxy.folds: found 3", id="folds"),
        pytest.param({"train_share": 0.5}, True, "proxy.train_share: found 0.5", id="share"),
        pytest.param({"engine": "dense"}, True, 'proxy.engine: found "dense"', id="engine"),
        pytest.param(
            {"loss": "mse"}, False, 'proxy.loss: found "mse", but .* has no targets', id="loss"
        ),
        pytest.param(
            {"loss": "own.py:loss", "metric": "accuracy"},
            False,
            'proxy.metric: found "accuracy", but .* has no targets',
            id="metric",
        ),
        pytest.param(
            {"loss": "model", "report": ["perplexity", "f1"]},
            False,
            'proxy.report: found "f1"',
            id="reported",
        ),
    ],
)
def test_what_batches_cannot_give_is_refused(proxy: Any, has_targets: bool, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        check_batch_keys(spec(**proxy), has_targets=has_targets)
