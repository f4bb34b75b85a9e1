"""What a built-in metric reads of outputs and targets."""

from collections import OrderedDict
from typing import Any

import pytest
import torch
from transformers.modeling_outputs import SequenceClassifierOutput
from widthwise.objectives.errors import MetricError
from widthwise.objectives.model.measures.outputs import prediction_tensor, target_tensor
from widthwise.objectives.model.metrics import METRICS

LOGITS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
LOSS = torch.tensor(0.5)


@pytest.mark.parametrize(
    "output",
    [
        LOGITS,
        (LOGITS,),
        [LOSS, LOGITS],
        (LOGITS, torch.zeros(3, 9)),
        {"loss": LOSS, "logits": LOGITS},
        OrderedDict(hidden=torch.zeros(3, 9), logits=LOGITS),
        {"anything": LOGITS},
        SequenceClassifierOutput(loss=LOSS, logits=LOGITS),
    ],
    ids=["tensor", "tuple", "loss first", "first", "mapping", "named", "only", "ModelOutput"],
)
def test_the_predictions_are_found(output: Any) -> None:
    assert prediction_tensor(output) is LOGITS
    assert METRICS["accuracy"](output, torch.tensor([0, 1, 1])) == pytest.approx(2 / 3)


@pytest.mark.parametrize("output", [None, {"loss": LOSS}, (), object(), "text"])
def test_an_output_without_predictions_is_refused(output: Any) -> None:
    with pytest.raises(MetricError, match="needs one tensor of predictions"):
        METRICS["accuracy"](output, torch.tensor([0]))


def test_several_targets_need_a_metric_of_ones_own() -> None:
    assert target_tensor({"y": LOGITS}) is LOGITS
    for targets in ((LOGITS, LOGITS), {"a": LOGITS, "b": LOGITS}, None):
        with pytest.raises(MetricError, match="give a metric of your own"):
            METRICS["mse"](LOGITS, targets)
