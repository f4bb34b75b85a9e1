"""A team whose members repeat the operators of their own steps, and how it is started.

Entry points: `start_session`, `ReplaySession`, `SupportCache`, `check_support`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, final
from weakref import WeakKeyDictionary

from torch import Tensor

from ...data.batches import BatchSampler
from ...errors import describe_error
from ..base import EngineUnsupported, Member, TrainingSetup
from ..plain import PlainNetwork, PlainSession
from .player import ReplayRunner
from .purity import reads_values

_CHECK_STEPS = 3
"""Steps of a rehearsal: the first makes the optimizer's state, one is recorded, one is proven."""


@final
class SupportCache:
    """Why steps of networks cannot be repeated, found out once for those of one structure."""

    def __init__(self, check: Callable[[TrainingSetup, PlainNetwork], str | None]) -> None:
        """Make ready.

        Args:
            check: Returns why a network's steps cannot be repeated, None if they can.
        """
        self._check_support = check
        self._reasons: WeakKeyDictionary[Any, dict[Any, str | None]] = WeakKeyDictionary()

    def unsupported_reason(self, training: TrainingSetup, member: Member) -> str | None:
        """Return why the steps of such a network cannot be repeated; remembered for its like."""
        network = PlainNetwork(training, member)
        module_types = tuple((name, type(module)) for name, module in network.model.named_modules())
        reasons = self._reasons.setdefault(training.objective, {})
        key = (training.settings, module_types)
        if key not in reasons:
            reasons[key] = self._check_support(training, network)
        return reasons[key]


@final
class ReplaySession:
    """Members that take turns; see `Team`."""

    def __init__(self, training: TrainingSetup, members: Sequence[Member]) -> None:
        """Build all members.

        Args:
            training: What they have in common.
            members: Whom to train.
        """
        self._plain_session = PlainSession(training, members)
        self._new_runner = partial(ReplayRunner, training)
        self._runners = [self._new_runner() for _ in members]
        self.save_best, self.restore_best = (
            self._plain_session.save_best,
            self._plain_session.restore_best,
        )
        self.network_state, self.load_state = (
            self._plain_session.network_state,
            self._plain_session.load_state,
        )
        self.state_dict, self.parameter_count = (
            self._plain_session.state_dict,
            self._plain_session.parameter_count,
        )
        self.peak_memory = self._plain_session.peak_memory

    def advance(
        self, batches: Mapping[int, Sequence[Tensor]], mid_epoch: Collection[int] = ()
    ) -> dict[int, float | Exception]:
        """Train members on batches of their own; see `Team`."""
        return {
            index: self._plain_session.run_member(
                index,
                partial(
                    self._runners[index].advance,
                    batches=member_batches,
                    mid_epoch=index in mid_epoch,
                ),
            )
            for index, member_batches in batches.items()
        }

    def predict(self, members: Sequence[int], inputs: Tensor) -> dict[int, Any]:
        """Return each member's outputs for all rows; see `Team`."""
        return self._plain_session.predict(members, inputs)

    def drop(self, members: Sequence[int]) -> None:
        """Give up the members' memory."""
        self._plain_session.drop(members)
        for index in members:
            self._runners[index] = self._new_runner()


def start_session(
    training: TrainingSetup, members: Sequence[Member], support: SupportCache
) -> ReplaySession:
    """Return a team of the members.

    Raises:
        EngineUnsupported: The device is no CPU, or the first network's step cannot be repeated.
    """
    if training.device.type != "cpu":
        raise EngineUnsupported(f"steps are replayed on a CPU, not on {training.device}")
    session = ReplaySession(training, members)
    built = [member for index, member in enumerate(members) if session.parameter_count(index)]
    unsupported_reason = support.unsupported_reason(training, built[0]) if built else None
    if unsupported_reason is not None:
        raise EngineUnsupported(unsupported_reason)
    return session


def check_support(training: TrainingSetup, network: PlainNetwork) -> str | None:
    """Return why a network's steps cannot be repeated; it is of no other use afterwards."""
    split, runner = training.data.train, ReplayRunner(training)
    order = BatchSampler(len(split), training.settings.batch_size, network.seed)
    batches = [order.batches_until(1.0)[0] for _ in range(_CHECK_STEPS)]
    try:
        runner.advance(network, batches)
    except (Exception, SystemExit) as error:  # the plain engine will say it to the user
        return f"a step raised {describe_error(error)}"
    inputs, targets = split.inputs[batches[0]], split.targets[batches[0]]
    if runner.unsupported_reason is None and reads_values(
        network.model, training.objective, inputs, targets
    ):
        return "the model reads values, so a step may depend on the data"
    return runner.unsupported_reason
