"""CUDA graphs: a stack's step is captured once and then started as a whole.

A step is some hundred small kernels, and a GPU is done with most of them before the CPU has started
the next. A graph starts them all at once. It works on the memory that it was captured with: the
batch is copied to where the captured one lay, and the stack keeps weights, statistics and moments
where they are.

What cannot be captured is trained step by step, with the same result: a model that reads values,
brings numbers from the host, or keeps a state that no operator tells of, which a graph would repeat
as it was.

**Not run on a GPU so far**: the tests capture by another recorder, on a CPU.

Entry points: `Repeater`, `capture_on`.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, final
from weakref import WeakSet

import torch
from torch import Tensor, nn

from ...errors import reason
from ...model.objective import Objective
from ..replay.purity import hidden_state

_log = logging.getLogger(__name__)

Step = Callable[[Tensor, Tensor], Tensor]
"""Trains on inputs and targets [members, rows, …] in place, and returns the losses [members]."""


class Captured(NamedTuple):
    """Work that was taken down.

    Attributes:
        launch: Does it again.
        result: What it returns lies here, each time.
    """

    launch: Callable[[], object]
    result: Tensor


Capture = Callable[[Callable[[], Tensor]], Captured]
"""Takes down what a function does on the device, without doing it."""

EAGER = 2
"""Steps at a size of batch before one is captured: libraries set themselves up, a state that no
operator tells of shows, and an epoch's last batch is not worth it."""

_given_up: WeakSet[Objective] = WeakSet()
"""Objectives whose steps cannot be captured. Each failure may cost memory that torch never gives
back (pytorch/pytorch#190308), so nobody tries again."""


@final
class Repeater:
    """Does a stack's steps; by a graph, one at a time, where a size of batch is worth it."""

    def __init__(self, objective: Objective, model: nn.Module, capture: Capture | None) -> None:
        """Begin without a graph.

        Args:
            objective: What is trained.
            model: What the step calls.
            capture: How steps are captured; None if they are not.
        """
        self._objective, self._model, self._capture = objective, model, capture
        self._done: dict[torch.Size, int] = {}
        self._graph: tuple[torch.Size, Step] | None = None

    def __call__(self, step: Step, inputs: Tensor, targets: Tensor) -> Tensor:
        """Do a step, the same in all calls; the losses are only there until the next one."""
        if self._capture is None or self._objective in _given_up:
            return step(inputs, targets)
        size = inputs.shape
        if self._graph is not None and self._graph[0] == size:
            return self._graph[1](inputs, targets)
        self._graph = None  # nobody else can have the memory that a graph keeps
        done = self._done[size] = self._done.get(size, 0) + 1
        if done < EAGER:
            return step(inputs, targets)
        if done == EAGER:
            return self._watched(step, inputs, targets)
        repeat = self._captured(self._capture, step, inputs, targets)
        if repeat is None:
            return step(inputs, targets)
        self._graph = size, repeat
        return repeat(inputs, targets)

    def _watched(self, step: Step, inputs: Tensor, targets: Tensor) -> Tensor:
        """Do a step, and give up capturing if it changes what a graph would not."""
        before = self._hidden()
        losses = step(inputs, targets)
        if self._hidden() != before:
            self._give_up("a step changes more than tensors on the device")
        return losses

    def _hidden(self) -> Any:
        return hidden_state(self._model), torch.get_rng_state().tolist()

    def _captured(
        self, capture: Capture, step: Step, inputs: Tensor, targets: Tensor
    ) -> Step | None:
        """Return a captured step; None where it cannot be captured."""
        batch = inputs.clone(), targets.clone()
        try:
            captured = capture(partial(step, *batch))
        except Exception as error:  # memory too: without a graph less of it may do
            self._give_up(reason(error))
            return None

        def repeat(*fresh: Tensor) -> Tensor:
            for place, one in zip(batch, fresh, strict=True):
                place.copy_(one)
            captured.launch()
            return captured.result

        return repeat

    def _give_up(self, why: str) -> None:
        _log.info("steps are not captured: %s", why)
        _given_up.add(self._objective)


def capture_on(device: torch.device) -> Capture | None:
    """Return how steps on a device are captured; None where they are not."""
    return partial(_capture, device) if device.type == "cuda" else None


def _capture(device: torch.device, work: Callable[[], Tensor]) -> Captured:
    graph: Any = torch.cuda.CUDAGraph()
    ours = torch.cuda.current_stream(device)
    # Where a capture fails, torch leaves its own stream the current one: so it is ours again after.
    # Another thread may fetch the next batch meanwhile, and may allocate for it.
    with (
        torch.cuda.device(device),
        torch.cuda.stream(ours),
        torch.cuda.graph(graph, capture_error_mode="thread_local"),
    ):
        result = work()
    return Captured(graph.replay, result)
