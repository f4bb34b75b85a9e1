"""Captured steps give the same numbers; a recorder on the CPU stands in for CUDA graphs.

Like a graph it captures operators without doing their work, and repeats them on the memory that
they were called with: a step that read values, or kept a new tensor beyond its end, would fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from widthwise.objectives.data.batches import BatchSampler
from widthwise.objectives.engines.base import Session
from widthwise.objectives.engines.replay.codegen import compile_tape
from widthwise.objectives.engines.replay.tape import Recorder
from widthwise.objectives.engines.stacked.cuda_graph import (
    EAGER_STEPS,
    CapturedStep,
    GraphedStep,
    capture_function,
)
from widthwise.objectives.training.settings import ProxySettings
from widthwise.tests.objectives.engines.equality import CPU, family_objective
from widthwise.tests.objectives.engines.stacked.stacks import (
    FLAT,
    IMAGES,
    SHORT_SETTINGS,
    members,
    single_stack_engine,
    training,
)


class UndoInPlace(TorchDispatchMode):
    """Restores the arguments of operators called inside `with`: not all declare their writes."""

    def __enter__(self) -> Any:
        self.before: dict[int, tuple[Any, Any]] = {}
        return super().__enter__()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, Tensor):
                memory = tensor.untyped_storage()
                if memory._cdata not in self.before:
                    self.before[memory._cdata] = memory, memory.clone()
        return func(*args, **(kwargs or {}))

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for memory, old in self.before.values():
            memory.copy_(old)


class FakeCapture:
    """Captures on a CPU.

    Attributes:
        launched: For each capture, how often it was launched.
    """

    def __init__(self) -> None:
        self.launched: list[int] = []

    def __call__(self, work: Callable[[], Tensor]) -> CapturedStep:
        with UndoInPlace(), Recorder(()) as recorder:
            result = work()
        assert recorder.unsupported_reason is None
        program, number = compile_tape(recorder.finish(result)), len(self.launched)
        self.launched.append(0)

        def launch() -> None:
            self.launched[number] += 1
            with torch.inference_mode():
                result.copy_(program.run())

        return CapturedStep(launch, result)


def train_with_changes(session: Session) -> list[Any]:
    """Losses, outputs and weights of three epochs; a member is dropped after the second."""
    orders = [BatchSampler(len(FLAT.train), SHORT_SETTINGS.batch_size, seed) for seed in range(3)]
    observations: list[Any] = []
    for indices in ([0, 1, 2], [0, 1, 2], [0, 2]):
        observations.append(
            session.advance({index: orders[index].batches_until(1.0) for index in indices})
        )
        outputs = session.predict(indices, FLAT.validation.inputs)
        observations.append([outputs[index] for index in indices])
        if len(indices) == 3:
            session.save_best(indices)
        else:
            session.restore_best([2])
        observations.append([session.state_dict(index) for index in indices])
        if len(observations) == 6:
            session.drop([1])
    return observations


@pytest.mark.parametrize(
    "options",
    [{}, {"norm": "batch", "dropout": 0.3}, {"norm": "layer", "activation": "gelu"}],
    ids=["plain", "batch norm, dropout", "layer norm, gelu"],
)
def test_captured_steps_give_the_same_bits(
    options: dict[str, Any],
) -> None:
    case = training(family_objective("mlp", FLAT, **options)), members((4, 9), (8, 3), (5, 5))
    expected = train_with_changes(single_stack_engine().start(*case))
    recordings = FakeCapture()
    capturing = single_stack_engine(capture=lambda _: recordings)
    actual = train_with_changes(capturing.start(*case))
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=0.0)
    # Six batches an epoch, the last a short one; with the epoch the graph goes.
    assert recordings.launched == [5 - EAGER_STEPS] * 3


def test_captured_steps_on_images_give_the_same_bits() -> None:
    proxy = ProxySettings(batch_size=5, weight_decay=0.1)
    case = training(family_objective("cnn", IMAGES, dropout=0.2), proxy), members((3, 5), (4, 2))
    batches = dict.fromkeys(range(2), BatchSampler(50, 5, 1).batches_until(1.0))
    expected = single_stack_engine().start(*case).advance(batches)
    recordings = FakeCapture()
    capturing = single_stack_engine(capture=lambda _: recordings)
    assert capturing.start(*case).advance(batches) == expected
    assert recordings.launched == [10 - EAGER_STEPS]


def steps(capture: Any, step: Callable[[Tensor, Tensor], Tensor], sizes: list[int]) -> list[float]:
    """The sums of what a step returns, for batches of these sizes filled with their numbers."""
    learn = GraphedStep(family_objective("mlp", FLAT), nn.Identity(), capture)
    batches = [torch.full((1, size), float(n)) for n, size in enumerate(sizes)]
    return [float(learn(step, batch, batch).sum()) for batch in batches]


def test_what_cannot_be_captured_is_done_step_by_step() -> None:
    calls = []

    def refuses(work: Callable[[], Tensor]) -> CapturedStep:
        calls.append(work)
        raise RuntimeError("operation not permitted when stream is capturing")

    actual = steps(refuses, lambda inputs, targets: inputs + targets, [3] * (EAGER_STEPS + 3))
    assert actual == [2.0 * 3 * n for n in range(EAGER_STEPS + 3)]
    assert len(calls) == 1


def test_a_size_of_batch_has_a_graph_until_another_comes() -> None:
    recordings, total = FakeCapture(), torch.zeros(())

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        total.add_((inputs * targets).sum())
        return total + 0

    sizes = [4, 2, 4, 4, 4, 2, 4]
    actual = steps(recordings, step, sizes)
    assert actual == [sum(k * n**2 for n, k in enumerate(sizes[: end + 1])) for end in range(7)]
    assert recordings.launched == [2, 1]


class DecayingOutput(nn.Module):
    """Counts its calls, and returns less from one to the next, which a graph would not do."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        return self.inner(x) / (1 + self.calls)


def test_a_step_with_a_state_of_its_own_is_not_captured() -> None:
    objective = family_objective("mlp", FLAT)
    fading = replace(objective, builder=lambda widths: DecayingOutput(objective.builder(widths)))
    case = training(fading), members((4, 9), (8, 3), (5, 5))
    expected = train_with_changes(single_stack_engine().start(*case))
    recordings = FakeCapture()
    capturing = single_stack_engine(capture=lambda _: recordings)
    actual = train_with_changes(capturing.start(*case))
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=0.0)
    assert recordings.launched == []


def test_nothing_is_captured_on_a_cpu() -> None:
    assert capture_function(CPU) is None
