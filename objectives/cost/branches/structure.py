"""Building without training: what a builder asks, and what it makes, at a fraction of a trace.

A model is built on tensors without memory, initialisers left out, from widths that record what is
asked of them. Two candidates whose models have another structure (other modules, or parameters of
other names) went other ways through the builder, whether or not it was seen to ask.

Entry points: `StructureProbe`, `Structure`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, final
from unittest.mock import patch

from torch import Tensor, nn

from ...trace.fake_model import FakeCPU, fake_model
from ...trace.trace import isolated_torch_state, silence_fake_tensor_warnings
from ...training.step import StepSpec
from .recorded_width import Recorder


@final
@dataclass(frozen=True, kw_only=True)
class Structure:
    """What a builder made of one candidate.

    Attributes:
        label: Equal for two candidates exactly if they have the same modules and parameters, but
            for their sizes.
        parameters: Elements of all parameters, tied ones once.
        tensor_count: Parameters and buffers.
        shapes: Of the parameters.
    """

    label: int
    parameters: int
    tensor_count: int
    shapes: tuple[tuple[int, ...], ...]


@final
class StructureProbe:
    """Builds candidates of a builder, recording what it asks.

    Attributes:
        recorder: Of all widths that were built with.
        is_cheap: Whether the builder runs without memory; where it does not, nothing more is built.
    """

    def __init__(self, build: Callable[[Mapping[str, int]], nn.Module], step: StepSpec) -> None:
        self.recorder = Recorder()
        self.is_cheap = True
        self._build = build
        self._step = step

    def build(self, widths: Mapping[str, int]) -> Structure | None:
        """Return what the builder makes, None where it raises or cannot be built cheaply.

        What it raises is for a trace to report: recorded widths might be the reason.
        """
        if not self.is_cheap:
            return None
        recorded = self.recorder.widths(widths)
        mode = FakeCPU()
        try:
            with (
                silence_fake_tensor_warnings(),
                isolated_torch_state(),
                _initialisers_left_out(),
                fake_model(lambda: self._build(recorded), self._step, mode) as (model, notes),
            ):
                # The one note: it was built for real.
                self.is_cheap = not notes
                return _structure(model)
        except (Exception, SystemExit):
            return None


def _structure(model: nn.Module) -> Structure:
    parameters = dict(model.named_parameters())
    label = (
        *((name, type(module)) for name, module in model.named_modules()),
        *((name, parameter.ndim, parameter.dtype) for name, parameter in parameters.items()),
    )
    return Structure(
        label=hash(label),
        parameters=sum(parameter.numel() for parameter in parameters.values()),
        tensor_count=len(parameters) + sum(1 for _ in model.buffers()),
        shapes=tuple(tuple(parameter.shape) for parameter in parameters.values()),
    )


@contextmanager
def _initialisers_left_out() -> Iterator[None]:
    """Let torch's initialisers return at once: they change no shape."""

    def leave_unchanged(tensor: Tensor, *_: Any, **__: Any) -> Tensor:
        return tensor

    with ExitStack() as stack:
        for name in vars(nn.init):
            if name.endswith("_") and not name.startswith("_"):
                stack.enter_context(patch.object(nn.init, name, leave_unchanged))
        yield
