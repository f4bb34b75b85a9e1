"""Latency: the median of the repeats, after a warm-up, in eval mode without gradients."""

from collections.abc import Callable
from itertools import accumulate, pairwise

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.cost.latency import measure_latency
from widthwise.objectives.errors import CostError, ModelError
from widthwise.objectives.training.step import TensorSpec

INPUT = (TensorSpec(shape=(20,)),)


class Clock:
    """A clock whose passes take given times: it is read before and after each."""

    def __init__(self, seconds: list[float]) -> None:
        readings = pairwise([0.0, *accumulate(seconds)])
        self.readings = iter([reading for pair in readings for reading in pair])

    def __call__(self) -> float:
        return next(self.readings)


class RecordingModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(20, 5)
        self.calls: list[tuple[bool, bool, tuple[int, ...], torch.dtype]] = []

    def forward(self, x: Tensor) -> Tensor:
        output = self.layer(x)
        self.calls.append((self.training, torch.is_grad_enabled(), tuple(x.shape), output.dtype))
        return output


def test_the_median_of_the_repeats_after_the_warm_up() -> None:
    clock = Clock([100.0, 50.0, 4.0, 1.0, 2.0, 9.0, 3.0])
    seconds = measure_latency(
        lambda: nn.Linear(20, 5), INPUT, repeats=5, warmup=2, clock=clock, batch_size=4
    )
    assert seconds == 3.0


def test_one_repeat_is_its_own_median() -> None:
    clock = Clock([2.0])
    assert measure_latency(lambda: nn.Linear(20, 5), INPUT, repeats=1, warmup=0, clock=clock) == 2.0


@pytest.mark.parametrize("autocast", [None, torch.bfloat16], ids=["fp32", "bf16"])
def test_passes_are_in_eval_mode_without_gradients(autocast: torch.dtype | None) -> None:
    model = RecordingModule()
    measure_latency(lambda: model, INPUT, batch_size=3, repeats=2, warmup=1, autocast=autocast)
    assert model.calls == [(False, False, (3, 20), autocast or torch.float32)] * 3


def test_a_far_larger_model_takes_longer() -> None:
    """The products of the second are 1,600 times those of the first; 5 times is certain."""
    small, large = (
        measure_latency(
            lambda width=width: nn.Linear(width, width),
            (TensorSpec(shape=(width,)),),
            batch_size=16,
            repeats=9,
        )
        for width in (50, 2_000)
    )
    assert large > 5 * small > 0


def test_token_ids_are_valid_and_random_streams_are_left_alone() -> None:
    before = torch.get_rng_state()
    ids = (TensorSpec(shape=(7,), dtype=torch.int64),)
    assert measure_latency(lambda: nn.Embedding(3, 4), ids, repeats=2) > 0
    assert torch.equal(before, torch.get_rng_state())


def raising() -> nn.Module:
    raise ZeroDivisionError("no width")


@pytest.mark.parametrize(
    ("build", "options", "error", "message"),
    [
        (lambda: nn.Linear(3, 2), {}, CostError, "forward pass raised RuntimeError"),
        (raising, {}, ModelError, "ZeroDivisionError: no width"),
        (lambda: None, {}, ModelError, "returned None"),
        (lambda: nn.Linear(20, 2), {"repeats": 0}, CostError, "repeats is 0: .* at least 1"),
        (lambda: nn.Linear(20, 2), {"warmup": -1}, CostError, "warm-up passes is -1"),
        (lambda: nn.Linear(20, 2), {"batch_size": 0}, CostError, "batch size is 0"),
    ],
    ids=["wrong shape", "raises", "None", "no repeats", "negative warm-up", "no batch"],
)
def test_what_cannot_be_measured_is_refused(
    build: Callable[[], nn.Module], options: dict[str, int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        measure_latency(build, INPUT, **options)
