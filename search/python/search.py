"""`widthwise.search`: one call that searches, confirms and returns a result, in a notebook too.

    result = widthwise.search(
        build=lambda widths: nn.Sequential(nn.Linear(64, widths["a"]), …),
        widths={"a": range(8, 257, 8)},
        data=(x, y),
        limits={"flops": "100k"},
        trials=40,
    )
    result.widths, result.verdict_text, result.table
    network = result.model()

It is what `widthwise run` does, with objects in the place of references: the same ledger, the same
limits, the same report.

Entry point: `search`.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from sqlalchemy.engine import URL

from ...objectives.errors import describe_type
from ...storage.database.database import Database, resolve_url
from ...storage.study.study import find_study, load_study
from ..command import format_command
from ..errors import Drained, SpecError
from ..follow_up_kind import FollowUpKind
from ..followup.follow_up import FollowUpStopped, find_follow_up
from ..problem.seeds import confirmation_seed
from ..problem.stored import stored_spec
from ..report.confirmation.saving import stated_joules_per_flop
from ..report.console import PlainConsole
from ..report.evidence import load_evidence
from ..space.limits import Limits
from ..space.space import Space
from ..space.width import Width
from ..spec.device import EXPECTED_DEVICES, check_device
from ..spec.spec import parse_spec
from ..study import run_to_the_end
from ..worker.options import FleetWorkerOptions
from ..worker.shutdown import StopRequest
from .arguments import Arguments
from .launching import launcher_for, resolve_workers
from .result import SearchResult

_MAX_WORKERS = 1024


def search(
    *,
    data: Any = None,
    widths: Space | Mapping[str, Any] | Sequence[Width] | None = None,
    build: Callable[..., Any] | str | None = None,
    family: str | None = None,
    limits: Limits | Mapping[str, Any] | None = None,
    trials: int | Literal["auto"] = 40,
    metric: Callable[..., Any] | str | None = None,
    direction: Literal["maximize", "minimize"] | None = None,
    loss: Callable[..., Any] | str | None = None,
    train: Callable[..., Any] | str | None = None,
    goal: Literal["best", "smallest", "front"] | None = None,
    good_enough: float | None = None,
    target: str | None = None,
    seed: int = 0,
    epochs: int | None = None,
    device: str | None = None,
    storage: str | None = None,
    name: str | None = None,
    workers: int | Literal["auto"] = 1,
    threads: int = 1,
    lease: float = 30.0,
    confirm: bool = True,
    untrained_ok: bool = False,
    progress: bool = True,
    **keys: Any,
) -> SearchResult:
    """Search the widths of a network, confirm the answer, and return what was found.

    Ctrl-C ends the training at its next epoch; the result is then partial, and says so
    (`complete`). The same call with the same name and storage goes on where it was; a second
    Ctrl-C interrupts at once.

    Args:
        data: `(x, y)` of arrays, tensors or tables; pairs of training, validation and test; a
            table with `target`; data sets or loaders of torch; a function that returns one of
            these; a file's path, or the name of a built-in set. Nothing where a `train` of your own
            brings its own.
        widths: Names to ranges, choices or `Width`s, with `order`, `tie` and `divisible` as in a
            spec; or a `Space`. A family has its own.
        build: `build(widths) -> nn.Module`: a function, a class, a closure, or a reference.
        family: A built-in family in its place; "mlp" where neither is given.
        limits: Hard bounds on costs, such as `{"flops": "2M"}`, or `Limits`.
        trials: Trainings; "auto" for a search that ends itself.
        metric: A name, or `metric(outputs, targets) -> float`.
        direction: Whether that is to be maximised or minimised.
        loss: A name, or `loss(outputs, targets) -> scalar tensor`.
        train: A training of your own, `train(widths, trial) -> float`.
        goal: "best" network that fits, "smallest" that is good enough, or "front".
        good_enough: For the goal "smallest": the metric that is good enough.
        target: Column to predict, of a table or a file.
        seed: Of everything that is drawn.
        epochs: Of a training at most.
        device: What to train on: "auto", "cpu", "cuda", "cuda:1" or "mps".
        storage: Database URL; None for a temporary file that goes with the result.
        name: Of the study; by default the builder's.
        workers: How many train at the same time; "auto" for as many as the machine takes.
        threads: CPU threads of each.
        lease: Seconds without a heartbeat until another worker takes a trial over.
        confirm: Whether to train the answer again, long and with fresh seeds, at the end.
        untrained_ok: Whether to go on where the first trainings learn nothing.
        progress: Whether to write progress to stderr.
        **keys: Other keys of a spec's sections study, model and proxy, such as `batch_size`,
            `patience`, `folds`, `activation` or `cost`; and `references`.

    Raises:
        SearchError: An argument makes no sense, nothing is feasible, or nothing is learned.
        ObjectiveError: The model, the data or the metric does not work.
        StorageError: The database refuses.
        KeyboardInterrupt: A second Ctrl-C; what was in training is given back.
    """
    if workers != "auto":
        _check_count("workers", workers)
    _check_count("threads", threads)
    if isinstance(lease, bool) or not isinstance(lease, int | float) or not lease >= 1:
        raise SpecError(f"lease: found {lease!r}, expected seconds, 1 or more")
    if device is not None:
        try:
            check_device(device)
        except (ValueError, TypeError):
            raise SpecError(f"device: found {device!r}, expected {EXPECTED_DEVICES}") from None
    if storage is not None and not isinstance(storage, str):
        raise SpecError(
            f"storage: found {describe_type(storage)}, expected the URL of a database as a text, "
            'such as "sqlite:///widthwise.db"'
        )
    stated_joules_per_flop()  # the report at the end needs it
    arguments = Arguments(
        widths=widths,
        data=data,
        limits=limits,
        name=name,
        build=build,
        family=family,
        trials=trials,
        metric=metric,
        direction=direction,
        loss=loss,
        train=train,
        goal=goal,
        good_enough=good_enough,
        target=target,
        seed=seed,
        epochs=epochs,
        device=device,
        **keys,
    )
    folder: Path | None = None
    try:
        spec = parse_spec(arguments.sections, source="widthwise.search")
        if storage is None:
            folder = Path(tempfile.mkdtemp(prefix="widthwise-"))
            storage = f"sqlite:///{folder / 'study.db'}"
        console = PlainConsole(stderr=True)
        console.quiet = not progress
        url = resolve_url(storage)
        stop = StopRequest()
        options = FleetWorkerOptions(threads=threads, lease_seconds=lease)
        worker_count = resolve_workers(workers, spec.proxy.device, options, console)
        with (
            launcher_for(arguments.held, worker_count, spec.proxy.device, threads) as launcher,
            Database.open(url, create=True) as database,
        ):
            complete = True
            try:
                run_to_the_end(
                    database,
                    spec,
                    Path.cwd(),
                    options,
                    console,
                    worker_count=worker_count,
                    launcher=launcher,
                    confirm=confirm,
                    stop=stop,
                    untrained_ok=untrained_ok,
                    command=f'widthwise.search(…, name="{spec.name}", storage=…)',
                )
            except (Drained, FollowUpStopped):
                # Asked for by Ctrl-C: what was found so far is a result, too.
                if not stop() or find_study(database, spec.name) is None:
                    raise
                complete = False
            can_go_on = not arguments.held and folder is None
            result = _result(
                database, url, spec.name, threads, complete=complete, can_go_on=can_go_on
            )
        if not complete:
            _say_interrupted(console, result, temporary=folder is not None)
    except BaseException:
        _clean_up(arguments, folder)
        raise
    weakref.finalize(result, _clean_up, arguments, folder)
    return result


def _check_count(key: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_WORKERS:
        shown = value if isinstance(value, int) else describe_type(value)
        raise SpecError(f"{key}: found {shown}, expected a whole number from 1 to {_MAX_WORKERS}")


def _result(
    database: Database, url: URL, name: str, threads: int, *, complete: bool, can_go_on: bool
) -> SearchResult:
    evidence = load_evidence(database, name)
    study_seed = evidence.spec.study.seed
    confirmation = find_follow_up(database, load_study(database, name), FollowUpKind.CONFIRMATION)
    changes: dict[str, Any] = {}
    if confirmation is not None:
        changes["proxy.length_factor"] = stored_spec(confirmation).proxy.length_factor
    shown_url = url.render_as_string(hide_password=True)
    return SearchResult(
        study=name,
        storage=shown_url,
        complete=complete,
        command=format_command("resume", name, options=["--storage", shown_url])
        if can_go_on
        else None,
        evidence=evidence,
        model_changes=changes,
        model_seed=confirmation_seed(study_seed, 0),
        threads=threads,
    )


def _say_interrupted(console: Console, result: SearchResult, *, temporary: bool) -> None:
    counts = result.evidence.counts
    again = (
        "it was in a temporary database: give a name and a storage to go on with one"
        if temporary
        else "the same call, with the same name and storage, goes on"
    )
    console.print(
        f"interrupted: {counts.complete} of {counts.budget} trials are complete, and the result "
        f"is partial; {again}",
        markup=False,
        soft_wrap=True,
    )


def _clean_up(arguments: Arguments, folder: Path | None) -> None:
    """Let go of what was held, and delete a temporary database."""
    arguments.release()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
