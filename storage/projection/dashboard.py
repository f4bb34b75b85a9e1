"""The dashboard: optuna-dashboard on our studies, with constraints, and read-only by default.

optuna-dashboard 0.21 reads constraints from an attribute that Optuna 5 no longer writes: to it
every trial is feasible, and it shows the best trial whatever its constraints. `_ShownStorage`
corrects both while trials are read, and adds to each in words whether it is feasible; of very many
trials it shows the learning curves of some. What else is to be shown of a study, a note and files,
`annotations` adds. The dashboard has no login and deletes on request, so `application` refuses
every request that is not a GET (`read_only`), or that comes by way of a foreign page
(`host_check`), and `make_server` listens on the loopback address by default.

    server = make_server(database)
    print(server.url)
    server.serve_forever()
"""

import copy
import errno
import socket
import sys
from collections.abc import Collection, Container
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import optuna_dashboard
from optuna.storages import RDBStorage, _CachedStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from ..database.database import Database
from ..errors import PortRefused
from .annotations import (
    AnnotationFiles,
    Annotations,
    annotated_attributes,
    prepare_annotations,
)
from .host_check import LOCAL_ADDRESS_KEY, check_host
from .read_only import NO_EDITING, NO_UPLOADS, add_style, read_only

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

LOOPBACK = "127.0.0.1"
CONSTRAINTS_ATTRIBUTE = "constraints"
"""Attribute that optuna-dashboard reads, a list; Optuna 5 writes one 'constraints:NAME' each."""

MAX_CURVES = 300
"""Trials beyond which only some are shown with their learning curves: so many."""

FEASIBLE_ATTRIBUTE = "feasible"
"""User attribute added to trials that are read: 'yes', or 'no' and the violation of each limit."""


@final
class _ShownStorage(_CachedStorage):
    """Optuna's cached storage, whose trials and studies are as the dashboard is to show them."""

    def __init__(self, backend: RDBStorage, annotations: Annotations | None) -> None:
        super().__init__(backend)
        self._annotations = annotations
        self._shown: dict[int, FrozenTrial] = {}  # finished trials by id: they never change

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return _with_constraints(super().get_trial(trial_id))

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        trials = super().get_all_trials(study_id, deepcopy=deepcopy, states=states)
        shown = [self._as_shown(trial) for trial in trials]
        shown = _with_fewer_curves(shown, self._sign(study_id))
        return copy.deepcopy(shown) if deepcopy else shown

    def _as_shown(self, trial: FrozenTrial) -> FrozenTrial:
        known = self._shown.get(trial._trial_id)
        if known is None:
            known = _with_constraints(trial)
            if trial.state.is_finished():
                self._shown[trial._trial_id] = known
        return known

    def _sign(self, study_id: int) -> float:
        """Return what makes less the better of a study's values."""
        return -1.0 if self.get_study_directions(study_id) == [StudyDirection.MAXIMIZE] else 1.0

    def get_all_studies(self) -> list[FrozenStudy]:
        studies = super().get_all_studies()
        for study in studies:
            study.system_attrs = self._annotated(study._study_id, study.system_attrs)
        return studies

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._annotated(study_id, super().get_study_system_attrs(study_id))

    def _annotated(self, study_id: int, stored: dict[str, Any]) -> dict[str, Any]:
        if self._annotations is None:
            return stored
        return annotated_attributes(self._annotations, study_id, stored)

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Return the best feasible trial; if none is feasible, that of the smallest violation.

        Raises:
            ValueError: If no trial is complete.
        """
        trials = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.COMPLETE,))
        sign = self._sign(study_id)
        best = min(trials, key=lambda trial: (_total_violation(trial), sign * (trial.value or 0.0)))
        return self.get_trial(best._trial_id)


def application(
    database: Database,
    *,
    annotations: Annotations | None = None,
    writable: bool = False,
    host: str = LOOPBACK,
    allowed_hosts: Collection[str] = (),
) -> "WSGIApplication":
    """Make the dashboard as a WSGI application.

    Args:
        database: Whose studies.
        annotations: Knows the notes and files of studies; None for none.
        writable: Let visitors change and delete; otherwise everything but GET gets a 403, and the
            pages have no buttons for it.
        host: Address that it is served on.
        allowed_hosts: Further names and addresses that it is reached by; by others it gets a 421.
    """
    storage = _ShownStorage(database.optuna_storage(), annotations)
    files = None
    if annotations is not None:
        files = AnnotationFiles(
            annotations, lambda: [study._study_id for study in storage.get_all_studies()]
        )
    dashboard: WSGIApplication = optuna_dashboard.wsgi(storage, artifact_store=files)
    if annotations is not None:
        dashboard = prepare_annotations(dashboard, annotations)
    dashboard = add_style(dashboard, NO_UPLOADS if writable else NO_UPLOADS + NO_EDITING)
    return check_host(
        dashboard if writable else read_only(dashboard), listens_on=host, allowed=allowed_hosts
    )


@final
class DashboardServer(ThreadingMixIn, WSGIServer):
    """A small threading web server; `url` is where a browser finds it."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an error, unless a browser closed its connection."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """The address for a browser; of a server on every address, the one on this machine."""
        host, port = str(self.server_address[0]), self.server_address[1]
        host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104 - not to listen on
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/dashboard/"


def make_server(
    database: Database,
    *,
    host: str = LOOPBACK,
    port: int = 8080,
    annotations: Annotations | None = None,
    writable: bool = False,
    allowed_hosts: Collection[str] = (),
) -> DashboardServer:
    """Make a server that listens; `serve_forever` answers requests, `server_close` ends it.

    Args:
        database: Whose studies.
        host: Address to listen on; whoever reaches it may read every study.
        port: 0 for any free one.
        annotations: As in `application`.
        writable: As in `application`.
        allowed_hosts: As in `application`.

    Raises:
        PortRefused: If the address cannot be listened on.
    """
    try:
        server = DashboardServer((host, port), _SilentHandler)
    except (OSError, OverflowError, ValueError) as error:
        in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        cause = (
            "another program listens there" if in_use else getattr(error, "strerror", None) or error
        )
        is_port = not isinstance(error, OSError) or error.errno in (errno.EADDRINUSE, errno.EACCES)
        advice = (
            "choose another port with --port, 0 for any free one"
            if is_port
            else "give an address of this machine with --host"
        )
        raise PortRefused(
            f"The dashboard cannot listen on {host}:{port} ({cause}); {advice}."
        ) from error
    try:
        server.set_app(
            application(
                database,
                annotations=annotations,
                writable=writable,
                host=host,
                allowed_hosts=allowed_hosts,
            )
        )
    except BaseException:
        server.server_close()
        raise
    return server


class _SilentHandler(WSGIRequestHandler):
    def get_environ(self) -> "WSGIEnvironment":
        """Return the request's environment, with the address that it was sent to."""
        return {**super().get_environ(), LOCAL_ADDRESS_KEY: self.connection.getsockname()[0]}

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Write nothing to stderr."""


def _with_constraints(trial: FrozenTrial) -> FrozenTrial:
    """Return a copy of the trial with its constraints as the list that the dashboard reads."""
    constraints = trial.constraints
    if not constraints or CONSTRAINTS_ATTRIBUTE in trial.system_attrs:
        return trial
    other_attributes = {
        key: value
        for key, value in trial.system_attrs.items()
        if not key.startswith(f"{CONSTRAINTS_ATTRIBUTE}:")
    }
    violations = ", ".join(
        f"{name} {value:+.3g}" for name, value in constraints.items() if value > 0
    )
    annotated = copy.copy(trial)
    annotated.system_attrs = {**other_attributes, CONSTRAINTS_ATTRIBUTE: list(constraints.values())}
    annotated.user_attrs = {
        FEASIBLE_ATTRIBUTE: f"no: {violations}" if violations else "yes",
        **trial.user_attrs,
    }
    return annotated


def _with_fewer_curves(trials: list[FrozenTrial], sign: float) -> list[FrozenTrial]:
    """Return the trials; of very many, most without their learning curves.

    A browser draws each curve as an element of its own: ten thousand keep it busy for minutes. The
    best trials keep theirs, and others at even distances.

    Args:
        trials: As they are stored.
        sign: What makes less the better of a value.
    """
    if len(trials) <= MAX_CURVES:
        return trials
    with_value = [index for index, trial in enumerate(trials) if trial.values is not None]
    with_value.sort(key=lambda index: sign * (trials[index].value or 0.0))
    kept = {*with_value[: MAX_CURVES // 2]}
    kept |= {*range(0, len(trials), -(-2 * len(trials) // MAX_CURVES))}
    shown = []
    for index, trial in enumerate(trials):
        if index not in kept and trial.state.is_finished():
            trial = copy.copy(trial)
            trial.intermediate_values = {}
        shown.append(trial)
    return shown


def _total_violation(trial: FrozenTrial) -> float:
    return sum(max(0.0, value) for value in trial.constraints.values())
