"""CUDA graphs: a stack's step is captured once and then started as a whole.

A step is some hundred small kernels, and a GPU is done with most of them before the CPU has started
the next. A graph starts them all at once. It works on the memory that it was captured with: the
batch is copied to where the captured one lay, and the stack keeps weights, statistics and moments
where they are.

What cannot be captured (a model that reads values, or brings numbers from the host) is trained step
by step, with the same result.

**Not run on a GPU so far**: the tests capture by another recorder, on a CPU.

Entry points: `Repeater`, `capture_on`.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from ..errors import reason

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
"""Steps at a size of batch before one is captured: libraries set themselves up, and an epoch's last
batch is not worth it."""


@final
class Repeater:
    """Does a stack's steps, each size of batch by a graph of its own once that is worth it."""

    def __init__(self, capture: Capture | None) -> None:
        """Begin without a graph.

        Args:
            capture: How steps are captured; None if they are not.
        """
        self.capture = capture
        self._done: dict[torch.Size, int] = {}
        self._graphs: dict[torch.Size, Step] = {}

    def __call__(self, step: Step, inputs: Tensor, targets: Tensor) -> Tensor:
        """Do a step, the same in all calls; the losses are only there until the next one."""
        size = inputs.shape
        done = self._done[size] = self._done.get(size, 0) + 1
        if self.capture is not None and done > EAGER and size not in self._graphs:
            self._try(self.capture, step, inputs, targets)
        return self._graphs.get(size, step)(inputs, targets)

    def forget(self) -> None:
        """Let the graphs go, and the memory that they keep for themselves."""
        self._graphs.clear()
        self._done.clear()

    def _try(self, capture: Capture, step: Step, inputs: Tensor, targets: Tensor) -> None:
        """Capture a step, or give up capturing."""
        batch = inputs.clone(), targets.clone()
        try:
            captured = capture(partial(step, *batch))
        except Exception as error:  # memory too: without a graph less of it may do
            _log.info("steps are not captured: %s", reason(error))
            self.capture = None
            return

        def repeat(*fresh: Tensor) -> Tensor:
            for place, one in zip(batch, fresh, strict=True):
                place.copy_(one)
            captured.launch()
            return captured.result

        self._graphs[inputs.shape] = repeat


def capture_on(device: torch.device) -> Capture | None:
    """Return how steps on a device are captured; None where they are not."""
    return partial(_capture, device) if device.type == "cuda" else None


def _capture(device: torch.device, work: Callable[[], Tensor]) -> Captured:
    """Capture as `torch.cuda.graph` does, but for its garbage collection, which takes 0.1 s."""
    graph: Any = torch.cuda.CUDAGraph()
    torch.cuda.empty_cache()  # a graph has memory of its own, and cannot have this freed for it
    ours, side = torch.cuda.current_stream(device), _side_stream(device)
    side.wait_stream(ours)
    with torch.cuda.stream(side):
        # Another thread may fetch the next batch meanwhile, and may allocate for it.
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            result = work()
        except BaseException:
            with suppress(RuntimeError):  # the capture is void: the reason is on its way already
                graph.capture_end()
            raise
        graph.capture_end()
    ours.wait_stream(side)
    return Captured(graph.replay, result)


@lru_cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream to capture on, always the same: cuBLAS keeps a workspace for each."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
