"""Steps started as a whole: the same numbers, by a recorder that takes a CUDA graph's place.

Like a graph it takes down operators without doing their work, and repeats them on the memory that
they were called with: a step that read values, or made a tensor of its own outlive it, would fail.
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
from widthwise.objectives.data.batches import Order
from widthwise.objectives.engines.base import Team
from widthwise.objectives.engines.replay.codegen import compile_tape
from widthwise.objectives.engines.replay.tape import Recorder
from widthwise.objectives.engines.stacked.cuda_graph import EAGER, Captured, Repeater, capture_on
from widthwise.objectives.training.settings import ProxySettings
from widthwise.tests.objectives.engines.equality import CPU, family
from widthwise.tests.objectives.engines.stacked.test_engine import (
    FLAT,
    IMAGES,
    SHORT,
    members,
    one_stack,
    training,
)


class Undone(TorchDispatchMode):
    """Puts back whatever operators called inside `with` were given: not all say what they write."""

    def __enter__(self) -> Any:
        self.before: dict[int, tuple[Any, Any]] = {}
        return super().__enter__()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        for one in tree_leaves((args, kwargs)):
            if isinstance(one, Tensor):
                memory = one.untyped_storage()
                if memory._cdata not in self.before:
                    self.before[memory._cdata] = memory, memory.clone()
        return func(*args, **(kwargs or {}))

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for memory, old in self.before.values():
            memory.copy_(old)


class Recordings:
    """Captures on a CPU.

    Attributes:
        launched: For each capture, how often it was done again.
    """

    def __init__(self) -> None:
        self.launched: list[int] = []

    def __call__(self, work: Callable[[], Tensor]) -> Captured:
        with Undone(), Recorder(()) as recorder:
            result = work()
        assert recorder.refusal is None
        program, number = compile_tape(recorder.finish(result)), len(self.launched)
        self.launched.append(0)

        def launch() -> None:
            self.launched[number] += 1
            with torch.inference_mode():
                result.copy_(program.run())

        return Captured(launch, result)


def a_story(team: Team) -> list[Any]:
    """All that comes of three epochs, after the second of which a member leaves."""
    orders = [Order(len(FLAT.train), SHORT.batch_size, seed) for seed in range(3)]
    found: list[Any] = []
    for places in ([0, 1, 2], [0, 1, 2], [0, 2]):
        found.append(team.advance({place: orders[place].until(1.0) for place in places}))
        outputs = team.predict(places, FLAT.validation.inputs)
        found.append([outputs[place] for place in places])
        if len(places) == 3:
            team.remember(places)
        else:
            team.recall([2])
        found.append([team.state(place) for place in places])
        if len(found) == 6:
            team.drop([1])
    return found


@pytest.mark.parametrize(
    "options",
    [{}, {"norm": "batch", "dropout": 0.3}, {"norm": "layer", "activation": "gelu"}],
    ids=["plain", "batch norm, dropout", "layer norm, gelu"],
)
def test_steps_started_as_a_whole_give_the_same_bits(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = training(family("mlp", FLAT, **options)), members((4, 9), (8, 3), (5, 5))
    expected = a_story(one_stack().start(*case))
    recordings = Recordings()
    monkeypatch.setattr(
        "widthwise.objectives.engines.stacked.stack.capture_on", lambda _: recordings
    )
    found = a_story(one_stack().start(*case))
    torch.testing.assert_close(found, expected, rtol=0.0, atol=0.0)
    # Six batches an epoch, the last a short one; with the epoch the graph goes.
    assert recordings.launched == [5 - EAGER] * 3


def test_images_too(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = ProxySettings(batch_size=5, weight_decay=0.1)
    case = training(family("cnn", IMAGES, dropout=0.2), proxy), members((3, 5), (4, 2))
    batches = dict.fromkeys(range(2), Order(50, 5, 1).until(1.0))
    expected = one_stack().start(*case).advance(batches)
    recordings = Recordings()
    monkeypatch.setattr(
        "widthwise.objectives.engines.stacked.stack.capture_on", lambda _: recordings
    )
    assert one_stack().start(*case).advance(batches) == expected
    assert recordings.launched == [10 - EAGER]


def steps(capture: Any, step: Callable[[Tensor, Tensor], Tensor], sizes: list[int]) -> list[float]:
    """The sums of what a step returns, for batches of these sizes filled with their numbers."""
    learn = Repeater(family("mlp", FLAT), nn.Identity(), capture)
    batches = [torch.full((1, size), float(n)) for n, size in enumerate(sizes)]
    return [float(learn(step, one, one).sum()) for one in batches]


def test_what_cannot_be_captured_is_done_step_by_step() -> None:
    asked = []

    def refuses(work: Callable[[], Tensor]) -> Captured:
        asked.append(work)
        raise RuntimeError("operation not permitted when stream is capturing")

    found = steps(refuses, lambda inputs, targets: inputs + targets, [3] * (EAGER + 3))
    assert found == [2.0 * 3 * n for n in range(EAGER + 3)]
    assert len(asked) == 1


def test_a_size_of_batch_has_a_graph_until_another_comes() -> None:
    recordings, total = Recordings(), torch.zeros(())

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        total.add_((inputs * targets).sum())
        return total + 0

    sizes = [4, 2, 4, 4, 4, 2, 4]
    found = steps(recordings, step, sizes)
    assert found == [sum(k * n**2 for n, k in enumerate(sizes[: end + 1])) for end in range(7)]
    assert recordings.launched == [2, 1]


class Fading(nn.Module):
    """Counts its calls, and gives less from one to the next: a graph would not know."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        return self.inner(x) / (1 + self.calls)


def test_a_step_with_a_state_of_its_own_is_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = family("mlp", FLAT)
    fading = replace(objective, builder=lambda widths: Fading(objective.builder(widths)))
    case = training(fading), members((4, 9), (8, 3), (5, 5))
    expected = a_story(one_stack().start(*case))
    recordings = Recordings()
    monkeypatch.setattr(
        "widthwise.objectives.engines.stacked.stack.capture_on", lambda _: recordings
    )
    found = a_story(one_stack().start(*case))
    torch.testing.assert_close(found, expected, rtol=0.0, atol=0.0)
    assert recordings.launched == []


def test_nothing_is_captured_on_a_cpu() -> None:
    assert capture_on(CPU) is None
