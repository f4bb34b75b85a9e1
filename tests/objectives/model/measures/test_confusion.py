"""Measures by confusion matrices: scikit-learn and torchmetrics on all rows are the other road."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from sklearn import metrics as sklearn_metrics
from torch import Tensor
from torchmetrics import classification
from widthwise.objectives.errors import MetricError
from widthwise.objectives.model.metrics import METRICS

DRAW = torch.Generator().manual_seed(3)
LOGITS = torch.randn(200, 6, generator=DRAW)
CLASSES = torch.randint(5, (200,), generator=DRAW)  # class 5 is predicted, and never right
LABEL_LOGITS = torch.randn(150, 3, generator=DRAW)
LABELS = (torch.rand(150, 3, generator=DRAW) < 0.3).long()


def by_class(function: Callable[..., float], **options: Any) -> float:
    return float(function(CLASSES.numpy(), LOGITS.argmax(dim=1).numpy(), **options))


def by_label(function: Callable[..., float], **options: Any) -> float:
    return float(function(LABELS.numpy(), (LABEL_LOGITS > 0).long().numpy(), **options))


MACRO = {"average": "macro", "zero_division": 0.0}


@pytest.mark.parametrize(
    ("name", "function", "options"),
    [
        ("precision", sklearn_metrics.precision_score, MACRO),
        ("recall", sklearn_metrics.recall_score, MACRO),
        ("f1_macro", sklearn_metrics.f1_score, MACRO),
        ("f1_micro", sklearn_metrics.f1_score, {"average": "micro"}),
        ("f1_weighted", sklearn_metrics.f1_score, {"average": "weighted"}),
        ("iou", sklearn_metrics.jaccard_score, MACRO),
        ("dice", sklearn_metrics.f1_score, MACRO),
        ("mcc", sklearn_metrics.matthews_corrcoef, {}),
        ("kappa", sklearn_metrics.cohen_kappa_score, {}),
        ("hamming", sklearn_metrics.hamming_loss, {}),
    ],
)
def test_classes_are_counted_as_scikit_learn_does(
    name: str, function: Callable[..., float], options: dict[str, Any]
) -> None:
    assert METRICS[name](LOGITS, CLASSES) == pytest.approx(by_class(function, **options))


@pytest.mark.parametrize(
    ("name", "function", "options"),
    [
        ("precision", sklearn_metrics.precision_score, MACRO),
        ("recall", sklearn_metrics.recall_score, MACRO),
        ("f1_macro", sklearn_metrics.f1_score, MACRO),
        ("f1_micro", sklearn_metrics.f1_score, {"average": "micro"}),
        ("f1_weighted", sklearn_metrics.f1_score, {"average": "weighted"}),
        ("iou", sklearn_metrics.jaccard_score, MACRO),
        ("hamming", sklearn_metrics.hamming_loss, {}),
    ],
)
def test_labels_are_counted_as_scikit_learn_does(
    name: str, function: Callable[..., float], options: dict[str, Any]
) -> None:
    assert METRICS[name](LABEL_LOGITS, LABELS) == pytest.approx(by_label(function, **options))
    # BCEWithLogitsLoss wants floats
    assert METRICS[name](LABEL_LOGITS, LABELS.float()) == METRICS[name](LABEL_LOGITS, LABELS)


def test_ranks_are_scikit_learns() -> None:
    probabilities = LOGITS[:, :5].double().softmax(dim=1).numpy()
    expected = sklearn_metrics.roc_auc_score(CLASSES.numpy(), probabilities, multi_class="ovr")
    assert METRICS["auroc"](LOGITS[:, :5], CLASSES) == pytest.approx(expected)
    for name, function in (
        ("auroc", sklearn_metrics.roc_auc_score),
        ("average_precision", sklearn_metrics.average_precision_score),
    ):
        expected = function(LABELS.numpy(), LABEL_LOGITS.numpy(), average="macro")
        assert METRICS[name](LABEL_LOGITS, LABELS) == pytest.approx(expected)
        yes = function(LABELS[:, 0].numpy(), LABEL_LOGITS[:, 0].numpy())
        assert METRICS[name](LABEL_LOGITS[:, 0], LABELS[:, 0]) == pytest.approx(yes)
        two = torch.stack([-LABEL_LOGITS[:, 0], LABEL_LOGITS[:, 0]], dim=1)
        assert METRICS[name](two, LABELS[:, 0]) == pytest.approx(yes)


def test_top5_is_scikit_learns() -> None:
    expected = sklearn_metrics.top_k_accuracy_score(
        CLASSES.numpy(), LOGITS.numpy(), k=5, labels=range(6)
    )
    assert METRICS["top5_accuracy"](LOGITS, CLASSES) == pytest.approx(expected)


CLASS_METRICS = [name for name, metric in METRICS.items() if metric.task == "classification"]


@pytest.mark.parametrize("name", [name for name in CLASS_METRICS if name != "top5_accuracy"])
def test_a_column_of_yes_and_no_is_no_set_of_labels(name: str) -> None:
    logits, targets = LABEL_LOGITS[:, :1], LABELS[:, :1]
    assert METRICS[name](logits, targets) == METRICS[name](logits[:, 0], targets[:, 0])


def masks(classes: int) -> tuple[Tensor, Tensor]:
    targets = torch.randint(classes, (12, 6, 5), generator=DRAW)
    targets[:, 0] = -100
    return torch.randn(12, classes, 6, 5, generator=DRAW), targets


def test_masks_are_compared_as_torchmetrics_does() -> None:
    logits, targets = masks(4)
    for name, metric in (
        ("iou", classification.MulticlassJaccardIndex(4, average="macro", ignore_index=-100)),
        ("dice", classification.MulticlassF1Score(4, average="macro", ignore_index=-100)),
    ):
        assert METRICS[name](logits, targets) == pytest.approx(float(metric(logits, targets)))


def test_a_mask_of_single_logits_is_judged_by_its_foreground() -> None:
    logits = torch.randn(9, 1, 8, 8, generator=DRAW)
    targets = (torch.rand(9, 8, 8, generator=DRAW) < 0.2).long()
    predicted = logits[:, 0] > 0
    both, either = (predicted & (targets == 1)).sum(), (predicted | (targets == 1)).sum()
    assert METRICS["iou"](logits, targets) == pytest.approx(float(both / either))
    expected = 2 * both / (predicted.sum() + targets.sum())
    assert METRICS["dice"](logits, targets[:, None].float()) == pytest.approx(float(expected))


def test_a_split_without_foreground_that_is_seen_so_has_no_overlap_to_miss() -> None:
    assert METRICS["iou"](-torch.ones(2, 1, 3, 3), torch.zeros(2, 3, 3).long()) == 0.0


@pytest.mark.parametrize("name", ["auroc", "average_precision"])
def test_one_class_alone_has_no_ranks(name: str) -> None:
    with pytest.raises(MetricError, match="all 4 targets are of one class"):
        METRICS[name](torch.randn(4), torch.ones(4).long())


def test_pairs_of_very_many_classes_are_not_counted() -> None:
    with pytest.raises(MetricError, match="5,001 classes are too many"):
        METRICS["precision"](torch.zeros(1, 5001), torch.tensor([5000]))


@pytest.mark.parametrize("name", ["accuracy", "precision", "auroc"])
def test_fractions_are_no_classes(name: str) -> None:
    with pytest.raises(MetricError, match="are fractions"):
        METRICS[name](LABEL_LOGITS, LABELS.float() * 0.3)
