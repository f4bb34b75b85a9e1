"""The trackers by name, each with the library that it needs.

Entry points: `open_trackers`; `require_installed`, for a sentence before anything is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

from ..errors import SpecError
from ..spec.tracker_address import TrackerAddress, TrackerKind
from .background import BackgroundTracker
from .tracker import Tracker
from .tracking import Tracking


def _open_mlflow(target: str, folder: Path) -> Tracker:
    from .mlflow import MlflowTracker

    del folder
    return MlflowTracker(target)


def _open_tensorboard(target: str, folder: Path) -> Tracker:
    from .tensorboard import TensorBoardTracker

    del folder
    return TensorBoardTracker(Path(target))


def _open_wandb(target: str, folder: Path) -> Tracker:
    from .wandb import WandbTracker

    return WandbTracker(target, folder)


_OPENERS: dict[TrackerKind, Callable[[str, Path], Tracker]] = {
    TrackerKind.MLFLOW: _open_mlflow,
    TrackerKind.TENSORBOARD: _open_tensorboard,
    TrackerKind.WANDB: _open_wandb,
}


def open_trackers(
    addresses: Iterable[str],
    folder: Path,
    *,
    study: str,
    study_id: str,
    warn: Callable[[str], None],
) -> Tracking:
    """Return what tells trackers of trials; a tracker that cannot be opened is warned of once.

    Args:
        addresses: As a spec or an option names them; the same one twice counts once.
        folder: What relative folders are below.
        study: The study's name.
        study_id: Of the study alone, also where another one had its name: letters and digits.
        warn: Is given a sentence on each tracker that is switched off.
    """
    absolute = [TrackerAddress.parse(text).below(folder) for text in addresses]
    return Tracking(
        [
            BackgroundTracker(
                str(address),
                lambda address=address: _OPENERS[address.kind](address.target, folder),  # type: ignore[misc]
                warn,
            )
            for address in dict.fromkeys(absolute)
        ],
        study=study,
        study_id=study_id,
    )


def require_installed(addresses: Iterable[str]) -> None:
    """Check that the libraries of trackers are there.

    Raises:
        SpecError: One is not, with what to install.
    """
    for text in addresses:
        kind = TrackerAddress.parse(text).kind
        if find_spec(kind) is None:
            raise SpecError(
                f"the tracker {text} needs {kind}, which is not installed: "
                f"pip install 'widthwise[{kind}]', or leave the tracker out"
            )
