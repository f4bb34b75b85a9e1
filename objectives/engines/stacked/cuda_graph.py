"""CUDA graphs: a stack's step is captured once and then started as a whole.

A step is some hundred small kernels, and a GPU finishes most of them before the CPU has started the
next. A graph starts them all at once. It works on the memory that it was captured with: the batch
is copied into the captured batch's memory, and the stack keeps weights, statistics and moments in
place.

Steps that cannot be captured are done one by one, with the same result: those of a model that reads
values, copies numbers from the host, or keeps a state outside tensors, which a graph would not
change.

**Not run on a GPU so far**: the tests capture with the replay engine's recorder, on a CPU.

Entry points: `GraphedStep`, `capture_function`.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, final
from weakref import WeakSet

import torch
from torch import Tensor, nn

from ...errors import describe_error
from ...model.objective import Objective
from ..purity import hidden_state

_log = logging.getLogger(__name__)

StepFunction = Callable[[Tensor, Tensor], Tensor]
"""Trains on inputs and targets [members, rows, …] in place, and returns the losses [members]."""


class CapturedStep(NamedTuple):
    """A captured function.

    Attributes:
        launch: Does again what the function did.
        result: Holds what the function returned, after each launch.
    """

    launch: Callable[[], object]
    result: Tensor


CaptureFunction = Callable[[Callable[[], Tensor]], CapturedStep]
"""Captures what a function does on the device, without doing it."""

CaptureFactory = Callable[[torch.device], CaptureFunction | None]
"""Returns how steps are captured on a device; None where they are not."""

EAGER_STEPS = 2
"""Steps at a size of batch before one is captured: libraries initialise themselves, a state outside
tensors is noticed, and an epoch's last batch is not worth a graph."""

_uncapturable: WeakSet[Objective] = WeakSet()
"""Objectives whose steps cannot be captured. Each failure may cost memory that torch never frees
(pytorch/pytorch#190308), so it is not tried again."""


@final
class GraphedStep:
    """Does a stack's steps, by a graph where there are enough batches of a size."""

    def __init__(
        self, objective: Objective, model: nn.Module, capture: CaptureFunction | None
    ) -> None:
        """Begin without a graph.

        Args:
            objective: What is trained.
            model: What the step calls.
            capture: How steps are captured; None if they are not.
        """
        self._objective, self._model, self._capture = objective, model, capture
        self._step_counts: dict[torch.Size, int] = {}
        self._graph: tuple[torch.Size, StepFunction] | None = None

    def __call__(self, step: StepFunction, inputs: Tensor, targets: Tensor) -> Tensor:
        """Do a step, always the same function; the losses are valid until the next step."""
        if self._capture is None or self._objective in _uncapturable:
            return step(inputs, targets)
        size = inputs.shape
        if self._graph is not None and self._graph[0] == size:
            return self._graph[1](inputs, targets)
        self._graph = None  # frees the memory that a graph keeps
        step_count = self._step_counts[size] = self._step_counts.get(size, 0) + 1
        if step_count < EAGER_STEPS:
            return step(inputs, targets)
        if step_count == EAGER_STEPS:
            return self._checked_step(step, inputs, targets)
        graphed = self._capture_step(self._capture, step, inputs, targets)
        if graphed is None:
            return step(inputs, targets)
        self._graph = size, graphed
        return graphed(inputs, targets)

    def _checked_step(self, step: StepFunction, inputs: Tensor, targets: Tensor) -> Tensor:
        """Do a step, and give up capturing if it changes a state that a graph would not."""
        state_before = self._hidden_state()
        losses = step(inputs, targets)
        if self._hidden_state() != state_before:
            self._mark_uncapturable("a step changes more than tensors on the device")
        return losses

    def _hidden_state(self) -> Any:
        return hidden_state(self._model), torch.get_rng_state().tolist()

    def _capture_step(
        self, capture: CaptureFunction, step: StepFunction, inputs: Tensor, targets: Tensor
    ) -> StepFunction | None:
        """Return a captured step; None where it cannot be captured."""
        batch = inputs.clone(), targets.clone()
        try:
            captured = capture(partial(step, *batch))
        except Exception as error:  # also out of memory: without a graph less may be enough
            self._mark_uncapturable(describe_error(error))
            return None

        def replay(*arguments: Tensor) -> Tensor:
            for static_input, argument in zip(batch, arguments, strict=True):
                static_input.copy_(argument)
            captured.launch()
            return captured.result

        return replay

    def _mark_uncapturable(self, message: str) -> None:
        _log.info("steps are not captured: %s", message)
        _uncapturable.add(self._objective)


def capture_function(device: torch.device) -> CaptureFunction | None:
    """Return how steps on a device are captured; None where they are not."""
    return partial(_capture_graph, device) if device.type == "cuda" else None


def _capture_graph(device: torch.device, function: Callable[[], Tensor]) -> CapturedStep:
    graph: Any = torch.cuda.CUDAGraph()
    current_stream = torch.cuda.current_stream(device)
    # Where a capture fails, torch leaves its own stream the current one: so it is ours again after.
    # Another thread may fetch the next batch meanwhile, and may allocate for it.
    with (
        torch.cuda.device(device),
        torch.cuda.stream(current_stream),
        torch.cuda.graph(graph, capture_error_mode="thread_local"),
    ):
        result = function()
    return CapturedStep(graph.replay, result)
