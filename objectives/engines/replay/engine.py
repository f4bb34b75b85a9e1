"""The replay engine: each network's step is recorded once and then repeated without autograd.

A step of a small network is mostly Python: modules, autograd's bookkeeping, the optimizer's. All
that it ends in is a list of operators on tensors, the same in every step. So the second step of a
member is recorded, below autograd; the third is done both ways and must give the same bits (loss,
weights, statistics, the optimizer's state); from the fourth on the recorded operators are called. A
batch of another size, such as an epoch's last, gets a recording of its own in the same way.

A recording holds for one network: nothing is assumed of how it would look for other widths. Before
a session starts, a few steps of its first network show whether steps can be repeated at all. Those
cannot of a model that reads values (`.item()`), that keeps state outside parameters and buffers, or
that draws random numbers other than torch's. A member whose recording is not proven is trained by
autograd.

Entry point: `ReplayEngine`.
"""

from collections.abc import Callable, Sequence
from typing import Any, final
from weakref import WeakKeyDictionary

from ...data.batches import BatchSampler
from ...errors import describe_error
from ...interrupt import raise_if_interrupt
from ..base import EngineUnsupported, Member, TrainingSetup
from ..module_network import ModuleSession
from ..purity import reads_values
from .network import ReplayNetwork

_CHECK_STEPS = 3
"""Steps that show support: the first makes the optimizer's state, one is recorded, one proven."""

SupportCheck = Callable[[TrainingSetup, ReplayNetwork], str | None]
"""Returns why a network's steps cannot be repeated; None if they can."""


def check_support(training: TrainingSetup, network: ReplayNetwork) -> str | None:
    """Return why a network's steps cannot be repeated; it is of no other use afterwards."""
    split = training.arrays.train
    order = BatchSampler(len(split), training.settings.batch_size, network.seed)
    batches = [order.batches_until(1.0)[0] for _ in range(_CHECK_STEPS)]
    try:
        network.advance(batches)
    except BaseException as error:  # the plain engine will report it to the user
        raise_if_interrupt(error)
        return f"a step raised {describe_error(error)}"
    inputs, targets = split.inputs[batches[0]], split.targets[batches[0]]
    if network.unsupported_reason is None and reads_values(
        network.model, training.objective, inputs, targets
    ):
        return "the model reads values, so a step may depend on the data"
    return network.unsupported_reason


@final
class ReplayEngine:
    """Trains each member by itself, by repeating the operators of its own steps."""

    name = "replay"

    def __init__(self, check: SupportCheck = check_support) -> None:
        """Begin without any knowledge of networks.

        Args:
            check: Finds out whether steps can be repeated, once for the networks of a structure.
        """
        self._check = check
        self._reasons: WeakKeyDictionary[Any, dict[Any, str | None]] = WeakKeyDictionary()

    def start(
        self, training: TrainingSetup, members: Sequence[Member]
    ) -> ModuleSession[ReplayNetwork]:
        """Build all members.

        Raises:
            EngineUnsupported: The device is no CPU, or the first network's step cannot be repeated.
        """
        if training.device.type != "cpu":
            raise EngineUnsupported(f"steps are replayed on a CPU, not on {training.device}")
        session = ModuleSession(training, members, ReplayNetwork)
        built = [member for index, member in enumerate(members) if session.parameter_count(index)]
        unsupported_reason = self._unsupported_reason(training, built[0]) if built else None
        if unsupported_reason is not None:
            raise EngineUnsupported(unsupported_reason)
        return session

    def _unsupported_reason(self, training: TrainingSetup, member: Member) -> str | None:
        """Return why the steps of such a network cannot be repeated; remembered by structure."""
        network = ReplayNetwork(training, member)
        module_types = tuple((name, type(module)) for name, module in network.model.named_modules())
        reasons = self._reasons.setdefault(training.objective, {})
        key = (training.settings, module_types)
        if key not in reasons:
            reasons[key] = self._check(training, network)
        return reasons[key]
